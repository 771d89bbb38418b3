"""Bootstrap by counts against bootstrap by rows, and coverage."""

import numpy as np
import pytest

from components.evaluation.intervals import (
    percentile_interval,
    resampled_counts,
    score_intervals,
)
from components.evaluation.metrics import confusion_matrix, scores_of


@pytest.fixture(scope="module")
def decisions():
    generator = np.random.default_rng(1)
    truth = generator.choice(3, 300, p=[0.12, 0.13, 0.75])
    predicted = np.where(generator.random(300) < 0.8, truth, generator.integers(0, 3, 300))
    return truth, predicted


def test_agrees_with_resampling_the_rows_themselves(decisions):
    truth, predicted = decisions
    generator = np.random.default_rng(2)
    accuracies, macro_f1s = [], []
    for _ in range(1500):
        rows = generator.integers(0, len(truth), len(truth))
        scores = scores_of(confusion_matrix(truth[rows], predicted[rows], 3))
        accuracies.append(scores.accuracy)
        macro_f1s.append(scores.macro_f1)
    fast = score_intervals(confusion_matrix(truth, predicted, 3))
    for estimate, slow in ((fast.accuracy, accuracies), (fast.macro_f1, macro_f1s)):
        assert (estimate.low, estimate.high) == pytest.approx(
            percentile_interval(np.array(slow)), abs=0.012
        )


def test_every_resample_has_as_many_rows(decisions):
    confusion = confusion_matrix(*decisions, 3)
    drawn = resampled_counts(confusion, 50, seed=0)
    assert drawn.shape == (50, 3, 3)
    assert (drawn.sum(axis=(1, 2)) == 300).all()
    assert (drawn[:, confusion == 0] == 0).all()


def test_value_lies_inside_and_equals_the_score(decisions):
    confusion = confusion_matrix(*decisions, 3)
    intervals = score_intervals(confusion)
    scores = scores_of(confusion)
    assert intervals.accuracy.value == scores.accuracy
    assert [estimate.value for estimate in intervals.f1] == scores.f1.tolist()
    for estimate in (intervals.accuracy, intervals.macro_f1, *intervals.f1, *intervals.recall):
        assert estimate.low <= estimate.value <= estimate.high


def test_the_same_seed_gives_the_same_interval(decisions):
    confusion = confusion_matrix(*decisions, 3)
    assert score_intervals(confusion, seed=3) == score_intervals(confusion, seed=3)
    assert score_intervals(confusion, seed=3) != score_intervals(confusion, seed=4)


def test_more_rows_narrow_the_interval(decisions):
    confusion = confusion_matrix(*decisions, 3)
    few, many = score_intervals(confusion), score_intervals(confusion * 16)
    width = few.accuracy.high - few.accuracy.low
    assert many.accuracy.high - many.accuracy.low == pytest.approx(width / 4, rel=0.15)


def test_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        right = generator.binomial(400, 0.8)
        estimate = score_intervals(
            np.array([[right, 400 - right], [0, 0]]), resamples=400, seed=trial
        ).accuracy
        covered += estimate.low <= 0.8 <= estimate.high
    assert 0.90 <= covered / 200 <= 0.99
