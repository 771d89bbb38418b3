import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from components.shared.statistics import scores as scoring

labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def test_rows_are_the_truth():
    confusion = scoring.confusion_matrix(np.array([0, 0, 0, 2]), np.array([1, 1, 0, 2]), 3)
    assert confusion.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


@settings(max_examples=60, deadline=None)
@given(labels)
def test_agrees_with_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    scores = scoring.scores_of(scoring.confusion_matrix(truth, predicted, 3))
    every = {"labels": [0, 1, 2], "average": None, "zero_division": 0}
    for name in ("f1", "precision", "recall"):
        expected = getattr(sklearn_metrics, f"{name}_score")(truth, predicted, **every)
        np.testing.assert_allclose(getattr(scores, name), expected, atol=1e-12)
    assert scores.accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    for name, of in (("macro_f1", "f1"), ("balanced_accuracy", "recall")):
        present = {"labels": sorted(set(truth.tolist())), "average": "macro"}
        expected = getattr(sklearn_metrics, f"{of}_score")(truth, predicted, **present)
        assert getattr(scores, name) == pytest.approx(expected)


def test_a_stack_is_scored_matrix_by_matrix():
    stack = np.random.default_rng(0).integers(0, 9, (5, 3, 3)) + 1
    together = scoring.scores_of(stack)
    for index, matrix in enumerate(stack):
        alone = scoring.scores_of(matrix)
        assert together.macro_f1[index] == pytest.approx(float(alone.macro_f1))
        np.testing.assert_allclose(together.f1[index], alone.f1)


def test_always_the_same_answer_scores_its_rate():
    scores = scoring.scores_of(np.array([[0, 0, 10], [0, 0, 12], [0, 0, 78]]))
    assert scores.accuracy == pytest.approx(0.78)
    assert scores.macro_f1 == pytest.approx((2 * 0.78 / 1.78) / 3)
    assert scores.balanced_accuracy == pytest.approx(1 / 3)


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
        scores = scoring.scores_of(scoring.confusion_matrix(truth[rows], predicted[rows], 3))
        accuracies.append(scores.accuracy)
        macro_f1s.append(scores.macro_f1)
    fast = scoring.score_intervals(scoring.confusion_matrix(truth, predicted, 3))
    for estimate, slow in ((fast.accuracy, accuracies), (fast.macro_f1, macro_f1s)):
        interval = scoring.percentile_interval(np.array(slow))
        assert (estimate.low, estimate.high) == pytest.approx(interval, abs=0.012)


def test_every_resample_has_as_many_rows(decisions):
    confusion = scoring.confusion_matrix(*decisions, 3)
    drawn = scoring.resampled_counts(confusion, 50, seed=0)
    assert drawn.shape == (50, 3, 3)
    assert (drawn.sum(axis=(1, 2)) == 300).all()
    assert (drawn[:, confusion == 0] == 0).all()


def test_value_lies_inside_and_equals_the_score(decisions):
    confusion = scoring.confusion_matrix(*decisions, 3)
    intervals = scoring.score_intervals(confusion)
    scores = scoring.scores_of(confusion)
    assert intervals.accuracy.value == scores.accuracy
    assert [estimate.value for estimate in intervals.f1] == scores.f1.tolist()
    for estimate in (intervals.accuracy, intervals.macro_f1, *intervals.f1, *intervals.recall):
        assert estimate.low <= estimate.value <= estimate.high


def test_the_same_seed_gives_the_same_interval(decisions):
    confusion = scoring.confusion_matrix(*decisions, 3)
    assert scoring.score_intervals(confusion, seed=3) == scoring.score_intervals(confusion, seed=3)
    assert scoring.score_intervals(confusion, seed=3) != scoring.score_intervals(confusion, seed=4)


def test_more_rows_narrow_the_interval(decisions):
    confusion = scoring.confusion_matrix(*decisions, 3)
    few, many = scoring.score_intervals(confusion), scoring.score_intervals(confusion * 16)
    width = few.accuracy.high - few.accuracy.low
    assert many.accuracy.high - many.accuracy.low == pytest.approx(width / 4, rel=0.15)


def test_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        right = generator.binomial(400, 0.8)
        confusion = np.array([[right, 400 - right], [0, 0]])
        estimate = scoring.score_intervals(confusion, resamples=400, seed=trial).accuracy
        covered += estimate.low <= 0.8 <= estimate.high
    assert 0.90 <= covered / 200 <= 0.99
