import pytest

from synthspine.eval.results.outcome import CORRUPTIONS as NAMED
from synthspine.eval.studies.options import CORRUPTION_STUDIES, STUDIES, EvaluationOptions, Levels


def test_factors_are_read_sorted_and_once():
    assert EvaluationOptions(resolution_factors="4, 1.0,2.5,4.0").factors == (1.0, 2.5, 4.0)


@pytest.mark.parametrize("text", ["", " , ", "0.5", "1,x", "1,nan", "inf"])
def test_bad_factors_are_refused(text):
    with pytest.raises(ValueError, match="resolution_factors"):
        EvaluationOptions(resolution_factors=text)


@pytest.mark.parametrize(
    ("model", "names"), [("A", ("A",)), ("B", ("B",)), ("both", ("A", "B")), ("compare", ("A", "B"))]
)
def test_models(model, names):
    assert EvaluationOptions(model=model).models == names


def test_impossible_number_of_classes_is_refused():
    assert EvaluationOptions(num_classes=5).num_classes == 5
    with pytest.raises(ValueError, match="num_classes 1 must be at least 2"):
        EvaluationOptions(num_classes=1)


def test_all_studies_are_the_default_and_come_in_order():
    assert EvaluationOptions().chosen_studies == STUDIES
    assert EvaluationOptions(studies=("continuum", "contrast")).chosen_studies == ("contrast", "continuum")


def test_groups_stand_for_their_studies():
    chosen = EvaluationOptions(studies=("resolution", "corruption_noise")).chosen_studies
    assert chosen == ("resolution_in_plane", "resolution_through_plane", "corruption_noise")


def test_corruptions_have_the_names_of_the_report():
    assert set(CORRUPTION_STUDIES) == set(NAMED)


@pytest.mark.parametrize(
    ("studies", "message"), [(("contrasts",), "no study is called contrasts"), ((), "empty")]
)
def test_unknown_studies_are_refused(studies, message):
    with pytest.raises(ValueError, match=message):
        EvaluationOptions(studies=studies)


def test_levels_begin_with_the_unchanged_image():
    options = EvaluationOptions(levels=Levels(noise="0.3, 0.1"))
    assert options.corruption_levels("noise") == (0.0, 0.1, 0.3)


@pytest.mark.parametrize("text", ["-0.1", "x", "nan", "inf"])
def test_bad_levels_are_refused(text):
    with pytest.raises(ValueError, match=r"levels\.motion"):
        Levels(motion=text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("continuum_steps", 1), ("slices_per_patient", -1), ("overlays", -1), ("batch_size", 0)],
)
def test_numbers_out_of_bounds_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        EvaluationOptions(**{name: value})


def test_quick_keeps_the_ends_and_one_slice_of_a_patient():
    quick = EvaluationOptions(quick=True)
    assert (quick.factors, quick.steps, quick.per_patient) == ((1.0, 4.0), 2, (1, 1))
    assert len(quick.corruption_levels("bias")) == 2
    assert EvaluationOptions().per_patient == (0, 3)
