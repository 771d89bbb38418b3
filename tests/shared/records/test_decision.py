import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.records.decision import (
    Calibration,
    decide,
    decide_under_prior,
    fit_temperature,
    log_softmax,
    probabilities,
)

LOGITS = st.lists(
    st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=20
).map(np.array)


@given(LOGITS, st.floats(0.1, 10))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(logits, temperature):
    p = probabilities(logits, Calibration(temperature))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    best = p[np.arange(len(p)), logits.argmax(axis=1)]
    np.testing.assert_allclose(best, p.max(axis=1))


def test_temperature_divides_the_logits():
    expected = np.log(np.exp([0.5, 1.0]) / np.exp([0.5, 1.0]).sum())
    np.testing.assert_allclose(log_softmax([[1.0, 2.0]], 2.0)[0], expected)


def test_offsets_move_decisions_not_probabilities():
    logits = np.log([[0.3, 0.3, 0.4]])
    moved = Calibration(1.0, (0.0, 1.0, 0.0))
    assert decide(logits, Calibration())[0] == 2
    assert decide(logits, moved)[0] == 1
    np.testing.assert_allclose(probabilities(logits, moved), [[0.3, 0.3, 0.4]])


def test_a_balanced_prior_favours_the_rare_class():
    logits = np.log([[0.2, 0.2, 0.6], [0.02, 0.03, 0.95]])
    assert list(decide_under_prior(logits, Calibration(), [0.1, 0.12, 0.78])) == [0, 2]


def test_calibration_survives_its_file_form():
    calibration = Calibration(1.3, (0.1, 0.2, -0.3))
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_large_logits_do_not_overflow():
    assert probabilities([[1e4, 0.0, -1e4]], Calibration())[0] == pytest.approx([1, 0, 0])


def drawn_from(logits, seed):
    chances = probabilities(logits, Calibration())
    draws = np.random.default_rng(seed).random((len(logits), 1))
    return (chances.cumsum(axis=1) < draws).sum(axis=1).clip(max=logits.shape[1] - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_recovers_the_temperature(temperature):
    honest = np.random.default_rng(0).normal(0, 2, (20_000, 3))
    classes = drawn_from(honest, seed=1)
    assert fit_temperature(honest * temperature, classes) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_no_grid_point_is_better(seed, rows):
    generator = np.random.default_rng(seed)
    logits, classes = generator.normal(0, 3, (rows, 3)), generator.integers(0, 3, rows)

    def loss(temperature):
        return -log_softmax(logits, temperature)[np.arange(rows), classes].mean()

    fitted = loss(fit_temperature(logits, classes))
    assert all(fitted <= loss(temperature) + 1e-6 for temperature in np.geomspace(0.05, 20, 80))


def test_without_rows_nothing_is_scaled():
    assert fit_temperature(np.empty((0, 3)), np.empty(0, dtype=int)) == 1.0
