import numpy as np
import pytest
from scipy.stats import binomtest

from components.monitoring.live_accuracy import (
    LEAST_LABELS,
    Audited,
    accuracy_on_test,
    false_alarm_rate,
    live_accuracy,
)
from components.shared.records.monitoring_summary import Accuracy

TRUTH = 0.625


def traffic(random, rows=4000):
    """Answers of a model that is the less right the surer it is: by half of what it claims."""
    confidence = 0.5 + 0.5 * random.random(rows)
    return confidence, random.random(rows) < 0.5 + (confidence - 0.5) / 2


def audit(random, confidence, correct, labels, answering=1.0):
    """People check some, the unsure ones more often; not everybody answers."""
    root = np.sqrt(confidence * (1 - confidence)) + 0.02
    chances = np.minimum(1, labels * root / root.sum())
    drawn = (random.random(len(root)) < chances) & (random.random(len(root)) < answering)
    once = np.ones(int(drawn.sum()), int)
    return Audited(once, confidence[drawn], correct[drawn], chances[drawn])


@pytest.mark.parametrize("answering", [1.0, 0.6])
def test_the_interval_holds_the_truth_whoever_was_asked_and_answered(answering):
    random, found = np.random.default_rng(0), []
    for _ in range(300):
        confidence, correct = traffic(random)
        found.append(live_accuracy(confidence, audit(random, confidence, correct, 300, answering)))
    assert np.mean([one.low <= TRUTH <= one.high for one in found]) >= 0.92
    assert np.mean([one.value for one in found]) == pytest.approx(TRUTH, abs=0.005)
    assert np.mean([one.high - one.low for one in found]) < 0.17


def test_unweighted_and_uncorrected_means_would_be_wrong():
    """So that the test above shows something."""
    random = np.random.default_rng(0)
    confidence = np.where(np.arange(40_000) % 2 == 0, 0.99, 0.6)
    correct = random.random(40_000) < confidence - 0.1
    checked = audit(random, confidence, correct, 4000)
    truth = correct.mean()
    assert abs(checked.correct.mean() - truth) > 0.05
    assert abs(confidence.mean() - truth) > 0.05
    assert live_accuracy(confidence, checked).value == pytest.approx(truth, abs=0.02)


def test_a_repeated_text_counts_as_often_as_it_was_asked():
    confidence = np.full(100, 0.5)
    right_often = Audited(
        np.array([2] * 25 + [1] * 50), np.full(75, 0.5), np.arange(75) < 25, np.ones(75)
    )
    assert live_accuracy(confidence, right_often).value == pytest.approx(0.5)


def test_too_few_labels_give_no_interval():
    few = LEAST_LABELS - 1
    audited = Audited(np.ones(few, int), np.full(few, 0.9), np.ones(few, bool), np.ones(few))
    assert live_accuracy(np.full(1000, 0.9), audited) is None
    none = Audited(*(np.array([], kind) for kind in (int, float, bool, float)))
    assert live_accuracy(np.array([]), none) is None


def test_the_test_sets_interval_is_wilsons():
    correct = np.arange(1929) < 1659
    found = accuracy_on_test(correct)
    known = binomtest(1659, 1929).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert accuracy_on_test(np.array([], bool)) is None


def test_how_often_two_intervals_part_by_chance():
    equal = Accuracy(0.8, 0.78, 0.82, 1000, 300)
    assert false_alarm_rate(equal, equal) == pytest.approx(0.0056, abs=2e-4)
    exact = Accuracy(0.8, 0.8, 0.8, 10**9, 10**9)
    assert false_alarm_rate(equal, exact) == pytest.approx(0.05, abs=1e-4)
