"""Reliability and calibration error on data whose calibration is known."""

import numpy as np
import pytest

from components.evaluation.calibration import (
    ReliabilityPoint,
    calibration_report,
    expected_calibration_error,
    reliability,
)
from components.shared.records.decision import Calibration, probabilities


def drawn(count, seed, temperature=1.0):
    """Classes drawn from honest probabilities, and the probabilities after a temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, 3))
    honest = probabilities(logits, Calibration())
    classes = (honest.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1).clip(max=2)
    return classes, probabilities(logits, Calibration(temperature))


def test_honest_probabilities_have_next_to_no_error():
    points = reliability(*drawn(60_000, seed=0))
    assert expected_calibration_error(points) < 0.01


def test_overconfidence_is_seen_on_its_side():
    points = reliability(*drawn(20_000, seed=1, temperature=0.4))
    assert expected_calibration_error(points) > 0.08
    assert all(point.confidence > point.accuracy for point in points[:-3])


def test_error_by_hand():
    points = [ReliabilityPoint(0.6, 0.5, 10), ReliabilityPoint(0.9, 1.0, 30)]
    assert expected_calibration_error(points) == pytest.approx(0.1)


def test_bins_have_equal_mass_and_rising_confidence():
    points = reliability(*drawn(1000, seed=2))
    assert {point.rows for point in points} <= {66, 67}
    assert sum(point.rows for point in points) == 1000
    assert [p.confidence for p in points] == sorted(p.confidence for p in points)


def test_fewer_rows_than_bins():
    points = reliability(*drawn(4, seed=3))
    assert [point.rows for point in points] == [1, 1, 1, 1]


def test_right_temperature_lowers_error_and_loss():
    classes, sharp = drawn(5000, seed=4, temperature=0.5)
    _, honest = drawn(5000, seed=4)
    before, after = calibration_report(classes, sharp), calibration_report(classes, honest)
    for name in ("expected_calibration_error", "log_loss", "brier_score"):
        assert after[name] < before[name]
