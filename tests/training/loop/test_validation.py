import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from components.shared.records.decision import Calibration
from components.training.loop.validation import (
    macro_f1,
    score,
    score_as_decided,
    tune_decision_offsets,
)
from components.training.loop.weight_average import WeightAverage


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_macro_f1_agrees_with_scikit_learn(pairs):
    truth, predicted = map(np.array, zip(*pairs, strict=True))
    expected = f1_score(truth, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_scores_of_certain_logits():
    found = score(np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]], dtype=np.float32), np.arange(3))
    assert found["accuracy"] == found["macro_f1"] == 1.0
    assert found["validation_loss"] == pytest.approx(np.log1p(2 * np.exp(-9.0)), rel=1e-5)


def test_offsets_find_a_class_that_logits_put_too_low():
    random = np.random.default_rng(0)
    classes = random.choice(3, p=[0.1, 0.15, 0.75], size=3000)
    logits = np.eye(3)[classes] * 2.0 + random.normal(size=(3000, 3))
    shifted = (logits - np.array([0.0, 1.0, 0.0])).astype(np.float32)
    offsets = tune_decision_offsets(shifted, classes, 1.0)
    plain = score_as_decided(shifted, classes, Calibration())
    tuned = score_as_decided(shifted, classes, Calibration(1.0, offsets))
    assert offsets[1] > 0.3
    assert tuned["macro_f1"] > plain["macro_f1"] + 0.02


def test_the_average_trails_the_weights_and_is_not_moved_by_them_in_place():
    import torch

    weight = torch.zeros(1)
    average = WeightAverage([weight], decay=0.5)
    weight.fill_(1.0)
    assert float(average.weights[0]) == 0.0
    for step in range(100, 102):
        average.update([weight], step)
    assert float(average.weights[0]) == pytest.approx(0.75)
