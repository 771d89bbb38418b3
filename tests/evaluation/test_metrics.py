"""Scores against scikit-learn, and the orientation of the confusion matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from components.evaluation.metrics import (
    brier_score,
    confusion_matrix,
    log_loss,
    roc_curve_of,
    scores_of,
)

labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def test_rows_are_the_truth():
    confusion = confusion_matrix(np.array([0, 0, 0, 2]), np.array([1, 1, 0, 2]), 3)
    assert confusion.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


@settings(max_examples=60, deadline=None)
@given(labels)
def test_agrees_with_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    scores = scores_of(confusion_matrix(truth, predicted, 3))
    every = {"labels": [0, 1, 2], "average": None, "zero_division": 0}
    np.testing.assert_allclose(
        scores.f1, sklearn_metrics.f1_score(truth, predicted, **every), atol=1e-12
    )
    np.testing.assert_allclose(
        scores.precision, sklearn_metrics.precision_score(truth, predicted, **every), atol=1e-12
    )
    np.testing.assert_allclose(
        scores.recall, sklearn_metrics.recall_score(truth, predicted, **every), atol=1e-12
    )
    present = sorted(set(truth.tolist()))
    assert scores.accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert scores.macro_f1 == pytest.approx(
        sklearn_metrics.f1_score(truth, predicted, labels=present, average="macro")
    )
    assert scores.balanced_accuracy == pytest.approx(
        sklearn_metrics.recall_score(truth, predicted, labels=present, average="macro")
    )


def test_a_stack_is_scored_matrix_by_matrix():
    stack = np.random.default_rng(0).integers(0, 9, (5, 3, 3)) + 1
    together = scores_of(stack)
    for index, matrix in enumerate(stack):
        alone = scores_of(matrix)
        assert together.macro_f1[index] == pytest.approx(float(alone.macro_f1))
        np.testing.assert_allclose(together.f1[index], alone.f1)


def test_always_the_same_answer_scores_its_rate():
    scores = scores_of(np.array([[0, 0, 10], [0, 0, 12], [0, 0, 78]]))
    assert scores.accuracy == pytest.approx(0.78)
    assert scores.macro_f1 == pytest.approx((2 * 0.78 / 1.78) / 3)
    assert scores.balanced_accuracy == pytest.approx(1 / 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 400), st.sampled_from([1, 2, 6]))
def test_roc_is_finite_monotone_and_spans_the_square(seed, rows, decimals):
    generator = np.random.default_rng(seed)
    belongs = generator.random(rows) < 0.4
    probability = generator.random(rows).round(decimals)  # ties, zeros and ones
    curve = roc_curve_of(belongs, probability, most_points=50)
    if belongs.all() or not belongs.any():
        assert curve is None
        return
    assert np.isfinite(curve.threshold).all()
    assert len(curve.threshold) == len(curve.false_positive_rate) <= 50
    assert (np.diff(curve.threshold) < 0).all()
    assert (np.diff(curve.false_positive_rate) >= 0).all()
    assert (np.diff(curve.true_positive_rate) >= 0).all()
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    assert not (probability >= curve.threshold[0]).any()


def test_auc_of_a_perfect_and_of_a_reversed_ranking():
    belongs = np.array([False, False, True, True])
    probability = np.array([0.1, 0.2, 0.8, 0.9])
    assert roc_curve_of(belongs, probability).auc == 1
    assert roc_curve_of(belongs, 1 - probability).auc == 0


def test_log_loss_and_brier_score_by_hand():
    truth = np.array([0, 2])
    chances = np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    assert log_loss(truth, chances) == pytest.approx(-(np.log(0.5) + np.log(0.6)) / 2)
    assert brier_score(truth, chances) == pytest.approx(
        ((0.25 + 2 * 0.0625) + (2 * 0.04 + 0.16)) / 2
    )


def test_log_loss_of_an_impossible_truth_is_finite():
    assert np.isfinite(log_loss(np.array([0]), np.array([[0.0, 0.0, 1.0]])))
