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
    # Large ones do not overflow.
    assert probabilities([[1e4, 0.0, -1e4]], Calibration())[0] == pytest.approx([1, 0, 0])


def test_offsets_move_decisions_not_probabilities():
    logits = np.log([[0.3, 0.3, 0.4]])
    moved = Calibration(1.0, (0.0, 1.0, 0.0))
    assert Calibration.from_dict(moved.to_dict()) == moved
    assert decide(logits, Calibration())[0] == 2
    assert decide(logits, moved)[0] == 1
    np.testing.assert_allclose(probabilities(logits, moved), [[0.3, 0.3, 0.4]])


def test_a_balanced_prior_favours_the_rare_class():
    logits = np.log([[0.2, 0.2, 0.6], [0.02, 0.03, 0.95]])
    assert list(decide_under_prior(logits, Calibration(), [0.1, 0.12, 0.78])) == [0, 2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_recovers_the_temperature(temperature):
    honest = np.random.default_rng(0).normal(0, 2, (20_000, 3))
    chances = probabilities(honest, Calibration()).cumsum(axis=1)
    classes = (chances < np.random.default_rng(1).random((20_000, 1))).sum(axis=1).clip(max=2)
    assert fit_temperature(honest * temperature, classes) == pytest.approx(temperature, rel=0.05)
    # Without rows nothing is scaled.
    assert fit_temperature(honest[:0], classes[:0]) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_no_grid_point_is_better(seed, rows):
    generator = np.random.default_rng(seed)
    logits, classes = generator.normal(0, 3, (rows, 3)), generator.integers(0, 3, rows)

    def loss(temperature):
        return -log_softmax(logits, temperature)[np.arange(rows), classes].mean()

    fitted = loss(fit_temperature(logits, classes))
    assert all(fitted <= loss(temperature) + 1e-6 for temperature in np.geomspace(0.05, 20, 80))
