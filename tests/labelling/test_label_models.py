import numpy as np
import pytest

from components.labelling.label_models import (
    MAJORITY,
    decided,
    function_figures,
    label_model_scores,
    majority_scores,
)

SHARES = np.array([0.2, 0.2, 0.6])
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.choice(3, 6_000, p=SHARES)


def voter(accuracy, coverage, seed):
    random = np.random.default_rng(seed)
    wrong = (TRUTH + random.integers(1, 3, len(TRUTH))) % 3
    cast = np.where(random.random(len(TRUTH)) < accuracy, TRUTH, wrong)
    return np.where(random.random(len(TRUTH)) < coverage, cast, -1)


VOTERS = ((0.9, 0.8, 1), (0.85, 0.8, 2), (0.45, 0.8, 3), (0.45, 0.8, 4), (0.45, 0.8, 5))
VOTES = np.stack([voter(*one) for one in VOTERS], axis=1)
RATED = np.arange(len(TRUTH)) < 4_000


def test_the_majority_wins_and_a_tie_goes_to_the_more_frequent_class():
    votes = np.array([[0, 0, 2], [0, 2, -1], [0, 1, -1], [-1, -1, -1]])
    shares = np.array([0.1, 0.3, 0.6])
    assert majority_scores(votes, shares).argmax(axis=1).tolist() == [0, 2, 1, 2]
    assert majority_scores(votes, shares)[0] == pytest.approx([2 / 3, 0, 1 / 3], abs=1e-5)


def test_the_label_model_trusts_the_better_functions(capfd):
    scores = label_model_scores(VOTES, 3, seed=1)
    covered = (VOTES >= 0).any(axis=1)
    by_model = (scores.argmax(axis=1) == TRUTH)[covered].mean()
    by_majority = (majority_scores(VOTES, SHARES).argmax(axis=1) == TRUTH)[covered].mean()
    assert by_model > by_majority + 0.02
    assert capfd.readouterr() == ("", "")


def test_two_functions_are_too_few_for_the_label_model():
    assert label_model_scores(VOTES[:, :2], 3, seed=1) is None


def test_probabilities_hold_on_reviews_without_a_rating():
    made = decided(MAJORITY, majority_scores(VOTES, SHARES), VOTES, RATED, TRUTH[RATED])
    covered = (VOTES >= 0).any(axis=1)
    assert np.array_equal(made.classes < 0, ~covered)
    assert (made.probability[~covered] == 0).all()
    unseen = ~RATED & covered
    right = made.classes == TRUTH
    assert made.probability[unseen].mean() == pytest.approx(right[unseen].mean(), abs=0.05)
    sure = unseen & (made.probability > 0.9)
    assert right[sure].mean() > 0.85
    assert made.accuracy == pytest.approx(right[RATED & covered].mean())
    assert [one["ratings"] for one in made.per_class] == np.bincount(
        TRUTH[RATED & covered]
    ).tolist()


def test_a_class_that_hardly_anyone_votes_has_its_precision_as_probability():
    votes = np.full((100, 1), -1)
    votes[:12] = 1
    truth = np.where(np.arange(50) < 6, 1, 0)
    made = decided(MAJORITY, majority_scores(votes, SHARES), votes, np.arange(100) < 50, truth)
    assert made.probability[:12] == pytest.approx(0.5)
    votes[90:, 0] = 2  # of whom none has a rating
    made = decided(MAJORITY, majority_scores(votes, SHARES), votes, np.arange(100) < 50, truth)
    assert (made.probability[90:] == 0).all()


def test_figures_of_functions_and_whether_they_beat_guessing():
    votes = np.array([[0, -1, 2], [0, 1, 2], [-1, 1, -1], [-1, -1, 0]])
    rated = np.array([True, True, True, False])
    named = [("a", "A."), ("b", "B."), ("c", "C.")]
    first, second, third = function_figures(named, votes, rated, np.array([0, 1, 1]), SHARES)
    assert first == {
        **{"name": "a", "about": "A.", "coverage": 0.5, "overlaps": 0.5, "conflicts": 0.5},
        **{"ratings": 2, "accuracy": 0.5, "by_guessing": 0.2, "used": True},
    }
    assert (second["accuracy"], second["overlaps"], second["conflicts"]) == (1.0, 0.25, 0.25)
    assert (third["accuracy"], third["used"]) == (0.0, False)
    (silent,) = function_figures([("s", "")], np.full((4, 1), -1), rated, TRUTH[:3], SHARES)
    assert (silent["accuracy"], silent["used"]) == (None, False)
