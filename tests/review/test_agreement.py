import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.review.agreement import LEAST_ITEMS, agreement, alpha

VALUES = np.array([-1.0, 0.0, 1.0])
NOMINAL = 1.0 - np.eye(3)


def counted(votes):
    """Votes [items, people] as counts [items, classes]; -1 is no vote."""
    return np.stack([(np.array(votes) == one).sum(axis=1) for one in range(3)], axis=1)


def test_alpha_is_the_one_of_the_published_example():
    """Krippendorff's four observers of twelve units, with values 1 to 5 (2011, example C)."""
    matrix = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    counts = np.array(
        [[column.count(v) for v in range(1, 6)] for column in zip(*matrix, strict=True)]
    )
    paired = counts[counts.sum(axis=1) >= 2]
    once = np.ones((1, len(paired)), int)
    scale = np.arange(1.0, 6.0)
    assert alpha(paired, once, 1 - np.eye(5))[0] == pytest.approx(0.743, abs=5e-4)
    gaps = np.subtract.outer(scale, scale) ** 2
    assert alpha(paired, once, gaps)[0] == pytest.approx(0.849, abs=5e-4)


@pytest.mark.slow
def test_alpha_is_the_one_that_crowd_kit_computes():
    from crowdkit.metrics.data import alpha_krippendorff

    random = np.random.default_rng(0)
    truth = random.choice(3, 200, p=[0.2, 0.2, 0.6])
    votes = np.where(random.random((200, 3)) < 0.2, random.integers(0, 3, (200, 3)), truth[:, None])
    frame = pd.DataFrame(
        [(item, who, int(v)) for item, row in enumerate(votes) for who, v in enumerate(row)],
        columns=["task", "worker", "label"],
    )
    found = agreement(counted(votes), VALUES)
    theirs = alpha_krippendorff(frame, distance=lambda a, b: (a - b) ** 2)
    assert found.interval.value == pytest.approx(theirs, abs=1e-9)
    assert found.nominal.value == pytest.approx(alpha_krippendorff(frame), abs=1e-9)


def test_perfect_agreement_is_one_and_guessing_none():
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, (300, 1))
    assert agreement(counted(np.repeat(truth, 3, axis=1)), VALUES).interval.value == 1.0
    guessed = agreement(counted(random.integers(0, 3, (300, 3))), VALUES).interval
    assert guessed.low < 0 < guessed.high
    assert guessed.high - guessed.low < 0.3


def test_a_far_miss_is_worse_than_a_near_one():
    base = [[0, 0], [1, 1], [2, 2]] * 20
    near = agreement(counted(base + [[1, 2]] * 10), VALUES)
    far = agreement(counted(base + [[0, 2]] * 10), VALUES)
    assert near.interval.value > far.interval.value + 0.1
    assert near.nominal.value == pytest.approx(far.nominal.value, abs=0.02)


@given(arrays(np.int64, (12, 3), elements=st.integers(0, 2)))
def test_whoever_voted_first_makes_no_difference(votes):
    found = agreement(counted(votes), VALUES)
    assert found == agreement(counted(votes[:, ::-1]), VALUES)
    if found.interval:
        assert found.interval.value <= 1
        assert np.isfinite([found.interval.low, found.interval.high]).all()


def test_too_few_items_or_one_answer_alone_say_nothing():
    few = agreement(counted([[0, 1]] * (LEAST_ITEMS - 1) + [[2, -1]] * 50), VALUES)
    assert (few.items, few.interval) == (LEAST_ITEMS - 1, None)
    assert agreement(counted([[2, 2]] * 50), VALUES).nominal is None
    assert agreement(np.zeros((0, 3), int), VALUES).to_dict()["interval"] is None
