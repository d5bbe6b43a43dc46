import pytest

from eval.options import EvaluationOptions


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


def test_unknown_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="5 classes"):
        EvaluationOptions(num_classes=5)
