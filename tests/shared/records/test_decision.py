import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.records.decision import (
    Calibration,
    decide,
    decide_under_prior,
    log_softmax,
    probabilities,
)

LOGITS = st.lists(
    st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=20
).map(np.array)


@given(LOGITS, st.floats(0.1, 10))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(logits, temperature) -> None:
    p = probabilities(logits, Calibration(temperature))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    best = p[np.arange(len(p)), logits.argmax(axis=1)]
    np.testing.assert_allclose(best, p.max(axis=1))


def test_temperature_divides_the_logits() -> None:
    expected = np.log(np.exp([0.5, 1.0]) / np.exp([0.5, 1.0]).sum())
    np.testing.assert_allclose(log_softmax([[1.0, 2.0]], 2.0)[0], expected)


def test_offsets_move_decisions_not_probabilities() -> None:
    logits = np.log([[0.3, 0.3, 0.4]])
    moved = Calibration(1.0, (0.0, 1.0, 0.0))
    assert decide(logits, Calibration())[0] == 2
    assert decide(logits, moved)[0] == 1
    np.testing.assert_allclose(probabilities(logits, moved), [[0.3, 0.3, 0.4]])


def test_a_balanced_prior_favours_the_rare_class() -> None:
    logits = np.log([[0.2, 0.2, 0.6], [0.02, 0.03, 0.95]])
    assert list(decide_under_prior(logits, Calibration(), [0.1, 0.12, 0.78])) == [0, 2]


def test_calibration_survives_its_file_form() -> None:
    calibration = Calibration(1.3, (0.1, 0.2, -0.3))
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_large_logits_do_not_overflow() -> None:
    assert probabilities([[1e4, 0.0, -1e4]], Calibration())[0] == pytest.approx([1, 0, 0])
