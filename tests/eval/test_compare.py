import math

import pytest

from eval.compare import contrast_shift, explain, kept_at_coarsest, reality_gaps


def gap_of(outcome, contrast, measure="overall"):
    return next(gap for gap in reality_gaps(outcome) if (gap.contrast, gap.measure) == (contrast, measure))


def test_gap_is_a_minus_b_over_the_same_patients(outcome):
    gap = gap_of(outcome(), "t2")
    assert (gap.a, gap.b, gap.n) == (pytest.approx(0.78), pytest.approx(0.5), 2)
    assert gap.difference == pytest.approx(0.28)
    assert gap.a_better == 2


def test_patient_that_one_model_leaves_undefined_is_left_out_of_both(outcome):
    measured = outcome()
    measured.results["A", "t1", 1.0]["patients"]["3"]["disc"] = math.nan
    gap = gap_of(measured, "t1", "disc")
    assert gap.n == 1
    assert gap.b == pytest.approx(1.0)


def test_one_model_alone_has_no_gap(outcome):
    assert reality_gaps(outcome(models=("A",))) == []
    assert explain(outcome(models=("A",))) == []


def test_contrast_shift_is_t2_minus_t1(outcome):
    assert contrast_shift(outcome(), "B") == pytest.approx(-0.4)
    assert contrast_shift(outcome(contrasts=("t1",)), "B") is None


def test_share_that_is_kept_at_the_coarsest_resolution(outcome):
    assert kept_at_coarsest(outcome(), "A", "t1") == pytest.approx(0.5)
    assert kept_at_coarsest(outcome(factors=(1.0,)), "A", "t1") is None


def words(measured):
    return "\n".join(explain(measured))


def test_words_name_the_gap_and_the_steadier_model(outcome):
    text = words(outcome())
    assert "A reaches .800 and B .900: the reality gap is .100" in text
    assert "synthetic training is ahead by .280 (A is better in 2 of 2 patients)" in text
    assert "−.020 for A and −.400 for B. Model A is the steadier" in text


def test_words_tell_a_hair_from_a_gap(outcome):
    close = {("A", "t1"): 0.88, ("A", "t2"): 0.7, ("B", "t1"): 0.9, ("B", "t2"): 0.7}
    text = words(outcome(dices=close))
    assert "within a hair of the real one, .020 behind" in text
    assert "they are level" in text


def test_words_name_the_steadier_model_whichever_it_is(outcome):
    steady_b = {("A", "t1"): 0.9, ("A", "t2"): 0.5, ("B", "t1"): 0.8, ("B", "t2"): 0.79}
    assert "Model B is the steadier" in words(outcome(dices=steady_b))


def test_words_name_the_structures_in_which_a_is_ahead(outcome):
    measured = outcome()
    for result in ("A", "t2", 1.0), ("B", "t2", 1.0):
        for dices in measured.results[result]["patients"].values():
            dices["canal"] = 0.5 if result[0] == "A" else 0.6
    text = words(measured)
    assert "A is ahead in no structure (A − B: vertebra −.100, disc −.100, canal −.100)" in text
    assert "A is ahead in vertebra and disc (A − B: vertebra +.280, disc +.280, canal −.100)" in text


def test_words_warn_of_models_that_are_too_poor(outcome):
    poor = {("A", "t1"): 0.2, ("A", "t2"): 0.1, ("B", "t1"): 0.3, ("B", "t2"): 0.1}
    assert "too poor" in words(outcome(dices=poor))
    assert "has little to lose" in words(outcome(dices=poor))
    assert "steadier" not in words(outcome(dices=poor))
    assert "too poor" not in words(outcome())


def test_words_do_without_a_contrast_or_a_second_resolution(outcome):
    text = words(outcome(contrasts=("t1",), factors=(1.0,)))
    assert "From T1 to T2" not in text
    assert "coarser pixels" not in text
    assert "On **T1**" in text
