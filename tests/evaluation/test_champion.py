import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.evaluation.champion import compare, verdict_of
from components.shared.statistics.scores import (
    Estimate,
    confusion_matrix,
    percentile_interval,
    scores_of,
)


def noisy(truth, share_right, seed):
    generator = np.random.default_rng(seed)
    wrong = (truth + generator.integers(1, 3, len(truth))) % 3
    return np.where(generator.random(len(truth)) < share_right, truth, wrong)


@pytest.fixture(scope="module")
def truth():
    return np.random.default_rng(0).choice(3, 500, p=[0.15, 0.15, 0.7])


def test_difference_and_discordant_rows(truth):
    new, champion = noisy(truth, 0.9, 1), noisy(truth, 0.7, 2)
    made = compare(truth, new, champion, 3, margin=0.01)
    f1, champions = (f1_score(truth, decided, average="macro") for decided in (new, champion))
    assert made["macro_f1_difference"]["value"] == pytest.approx(f1 - champions)
    more = (new == truth).mean() - (champion == truth).mean()
    assert made["accuracy_difference"]["value"] == pytest.approx(more)
    assert made["only_new_right"] == ((new == truth) & (champion != truth)).sum()
    assert made["only_champion_right"] == ((new != truth) & (champion == truth)).sum()
    assert (made["verdict"], made["significant"]) == ("better", True)


def test_swapping_the_models_turns_the_signs(truth):
    new, champion = noisy(truth, 0.9, 1), noisy(truth, 0.7, 2)
    there, back = compare(truth, new, champion, 3, 0.01), compare(truth, champion, new, 3, 0.01)
    gain, loss = (made["macro_f1_difference"]["value"] for made in (there, back))
    assert loss == pytest.approx(-gain)
    assert back["mcnemar_p_value"] == pytest.approx(there["mcnemar_p_value"])
    assert (back["verdict"], back["significant"]) == ("worse", True)


def test_interval_agrees_with_resampling_pairs_of_rows(truth):
    new, champion = noisy(truth, 0.85, 3), noisy(truth, 0.8, 4)
    generator = np.random.default_rng(5)
    slow = []
    for _ in range(1000):
        rows = generator.integers(0, len(truth), len(truth))
        one, other = (
            scores_of(confusion_matrix(truth[rows], decided[rows], 3)).macro_f1
            for decided in (new, champion)
        )
        slow.append(one - other)
    fast = compare(truth, new, champion, 3, 0.01)["macro_f1_difference"]
    interval = percentile_interval(np.array(slow))
    assert (fast["low"], fast["high"]) == pytest.approx(interval, abs=0.012)


def test_pairing_makes_the_interval_narrower_than_independent_models(truth):
    champion = noisy(truth, 0.8, 6)
    near = champion.copy()
    near[:5] = truth[:5]
    paired = compare(truth, near, champion, 3, 0.01)["macro_f1_difference"]
    independent = compare(truth, noisy(truth, 0.8, 7), champion, 3, 0.01)["macro_f1_difference"]
    assert paired["high"] - paired["low"] < (independent["high"] - independent["low"]) / 3


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (-0.02, -0.05, 0.01, "worse"),
        (-0.0100001, -0.05, 0.01, "worse"),
        (-0.01, -0.05, 0.01, "not worse"),
        (0.0, 0.0, 0.0, "not worse"),
        (0.03, -0.01, 0.05, "not worse"),
        (0.03, 0.0, 0.05, "not worse"),
        (0.03, 0.001, 0.05, "better"),
    ],
)
def test_rule_at_its_boundaries(value, low, high, verdict):
    assert verdict_of(Estimate(value, low, high), margin=0.01) == verdict
