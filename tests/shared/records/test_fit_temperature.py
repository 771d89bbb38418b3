"""Temperature scaling: finds the temperature that the logits were spoilt with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.records.decision import (
    Calibration,
    fit_temperature,
    log_softmax,
    probabilities,
)


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
