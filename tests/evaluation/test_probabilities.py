import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import probabilities as scoring
from components.shared.records.decision import Calibration, probabilities


def drawn(count, seed, temperature=1.0):
    """Classes drawn from honest probabilities, and the probabilities after a temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, 3))
    honest = probabilities(logits, Calibration())
    classes = (honest.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1).clip(max=2)
    return classes, probabilities(logits, Calibration(temperature))


def test_honest_probabilities_have_almost_no_error():
    points = scoring.reliability(*drawn(60_000, seed=0))
    assert scoring.expected_calibration_error(points) < 0.01


def test_overconfidence_is_seen_on_its_side():
    points = scoring.reliability(*drawn(20_000, seed=1, temperature=0.4))
    assert scoring.expected_calibration_error(points) > 0.08
    assert all(point.confidence > point.accuracy for point in points[:-3])


def test_error_by_hand():
    points = [scoring.ReliabilityPoint(0.6, 0.5, 10), scoring.ReliabilityPoint(0.9, 1.0, 30)]
    assert scoring.expected_calibration_error(points) == pytest.approx(0.1)


def test_bins_have_equal_mass_and_rising_confidence():
    points = scoring.reliability(*drawn(1000, seed=2))
    assert {point.rows for point in points} <= {66, 67}
    assert sum(point.rows for point in points) == 1000
    assert [p.confidence for p in points] == sorted(p.confidence for p in points)
    few = scoring.reliability(*drawn(4, seed=3))
    assert [point.rows for point in few] == [1, 1, 1, 1]


def test_right_temperature_lowers_error_and_loss():
    classes, sharp = drawn(5000, seed=4, temperature=0.5)
    _, honest = drawn(5000, seed=4)
    before, after = (
        scoring.calibration_report(classes, sharp),
        scoring.calibration_report(classes, honest),
    )
    for name in ("expected_calibration_error", "log_loss", "brier_score"):
        assert after[name] < before[name]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 400), st.sampled_from([1, 2, 6]))
def test_roc_is_finite_monotone_and_spans_the_square(seed, rows, decimals):
    generator = np.random.default_rng(seed)
    belongs = generator.random(rows) < 0.4
    probability = generator.random(rows).round(decimals)  # ties, zeros and ones
    curve = scoring.roc_curve_of(belongs, probability, most_points=50)
    if belongs.all() or not belongs.any():
        assert curve["auc"] is None
        return
    false, true = curve["false_positive_rate"], curve["true_positive_rate"]
    threshold = curve["threshold"]
    assert np.isfinite(threshold).all()
    assert len(threshold) == len(false) <= 50
    assert (np.diff(threshold) < 0).all()
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert not (probability >= threshold[0]).any()


def test_auc_of_a_perfect_and_of_a_reversed_ranking():
    belongs = np.array([False, False, True, True])
    probability = np.array([0.1, 0.2, 0.8, 0.9])
    assert scoring.roc_curve_of(belongs, probability)["auc"] == 1
    assert scoring.roc_curve_of(belongs, 1 - probability)["auc"] == 0


def test_log_loss_and_brier_score_by_hand():
    truth = np.array([0, 2])
    chances = np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    assert scoring.log_loss(truth, chances) == pytest.approx(-(np.log(0.5) + np.log(0.6)) / 2)
    by_hand = ((0.25 + 2 * 0.0625) + (2 * 0.04 + 0.16)) / 2
    assert scoring.brier_score(truth, chances) == pytest.approx(by_hand)


def test_log_loss_of_an_impossible_truth_is_finite():
    assert np.isfinite(scoring.log_loss(np.array([0]), np.array([[0.0, 0.0, 1.0]])))


def test_a_temperature_in_the_weights_is_judged_as_one_beside_them():
    random = np.random.default_rng(6)
    logits = random.normal(0, 3, (2000, 3)).astype(np.float32)
    truth = np.array([random.choice(3, p=p) for p in probabilities(logits, Calibration(1.5))])
    offsets = (0.0, 0.0, 0.0)
    beside = scoring.calibration_check(logits, truth, Calibration(1.5), logits, truth)
    within = (logits / 1.5, truth, Calibration(1.0, offsets, 1.5), logits / 1.5, truth)
    folded = scoring.calibration_check(*within)
    assert folded["temperature"] == beside["temperature"] == 1.5
    assert folded["temperature_agrees"]
    assert folded["temperature_refitted"] == pytest.approx(beside["temperature_refitted"], 1e-4)
    for when in ("before", "after"):
        assert folded[when]["log_loss"] == pytest.approx(beside[when]["log_loss"], 1e-5)
    assert folded["after"]["log_loss"] < folded["before"]["log_loss"]
