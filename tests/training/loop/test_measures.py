import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from components.training.loop.measures import SpeedMeter, calibrate, macro_f1, score


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_macro_f1_agrees_with_scikit_learn(pairs):
    truth, predicted = map(np.array, zip(*pairs, strict=True))
    expected = f1_score(truth, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert macro_f1(truth, predicted, 3) == pytest.approx(expected)


def test_scores_of_certain_logits():
    found = score(np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]], dtype=np.float32), np.arange(3))
    assert found["accuracy"] == found["macro_f1"] == 1.0
    assert found["validation_loss"] == pytest.approx(np.log1p(2 * np.exp(-9.0)), rel=1e-5)


def test_offsets_find_a_class_that_logits_put_too_low():
    random = np.random.default_rng(0)
    classes = random.choice(3, p=[0.1, 0.15, 0.75], size=3000)
    logits = np.eye(3)[classes] * 2.0 + random.normal(size=(3000, 3))
    shifted = (logits - np.array([0.0, 1.0, 0.0])).astype(np.float32)
    _, plain = calibrate(shifted, classes, tune_decisions=False)
    calibration, tuned = calibrate(shifted, classes, tune_decisions=True)
    assert calibration.decision_offsets[1] > 0.3
    assert tuned["macro_f1"] > plain["macro_f1"] + 0.02
    assert tuned["validation_loss"] == plain["validation_loss"]


def test_speed_is_that_of_all_steps_and_of_real_tokens():
    meter = SpeedMeter()
    meter.add(np.array([7, 12]), 0.5)
    meter.add(np.array([7, 12]), 1.5)
    assert meter.samples_per_second == pytest.approx(2.0)
    assert meter.summary() == {"seconds": 2.0, "samples_per_second": 2.0, "tokens_per_second": 19.0}
