from datetime import timedelta

import numpy as np
import pytest

from components.review.aggregate import (
    DAWID_SKENE,
    LAZY_BELOW,
    MAJORITY,
    _by_majority,
    _surely_below,
    informedness,
    probabilities,
    reviewers_of,
)
from components.review.counting import count_votes
from components.review.simulated import SimulatedPerson, simulated_votes
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.votes import VOTES_SCHEMA, events_of
from tests.review.conftest import KEY, START


def voted(people, items=300, labels=SENTIMENTS, shares=(0.15, 0.15, 0.7), each=3, seed=0):
    """Votes on made-up items, and the true class of each [items]."""
    random = np.random.default_rng(seed)
    truth = random.choice(len(labels), items, p=shares)
    named = {f"r{number:04d}": labels.names[one] for number, one in enumerate(truth)}
    votes = simulated_votes(named, people, labels, START, each=each, seed=seed)
    events = events_of(VOTES_SCHEMA.empty_table(), votes, set(named), KEY, START)
    return count_votes(events, named, labels)[0], truth


def people(*errors, **more):
    return [SimulatedPerson(f"p{number}", error) for number, error in enumerate(errors)] + [
        SimulatedPerson(name, always=always) for name, always in more.items()
    ]


def right(votes, truth):
    return (probabilities(votes, 0.05)[0].argmax(axis=1) == truth).mean()


def test_the_one_who_always_clicks_the_same_is_found_and_nobody_else():
    votes, _ = voted(people(0.1, 0.15, 0.2, lazy="positive"))
    found = reviewers_of(votes, SENTIMENTS.names)
    (lazy,) = [one for one in found if one.lazy]
    assert (lazy.most, lazy.most_share, lazy.informedness) == ("positive", 1.0, 0.0)
    assert f"{lazy.votes} votes, whatever the others say" in lazy.in_words
    assert min(one.informedness for one in found if not one.lazy) > 0.45


@pytest.mark.parametrize("seed", range(8))
def test_people_who_err_often_are_not_taken_for_lazy(seed):
    votes, _ = voted(people(0.3, 0.3, 0.3), seed=seed)
    assert not any(one.lazy for one in reviewers_of(votes, SENTIMENTS.names))


def test_somebody_who_clicks_at_random_is_found_as_well():
    votes, _ = voted(people(0.05, 0.05, 0.05, 2 / 3))
    lazy = [one.lazy for one in reviewers_of(votes, SENTIMENTS.names)]
    assert sum(lazy) == 1
    assert max(one.most_share for one in reviewers_of(votes, SENTIMENTS.names) if one.lazy) < 0.5


def test_of_two_reviewers_the_careful_one_is_not_blamed_for_the_lazy_one():
    votes, _ = voted(people(0.05, lazy="positive"), each=2)
    found = reviewers_of(votes, SENTIMENTS.names)
    assert [one.most_share == 1.0 for one in found] == [one.lazy for one in found]
    assert sum(one.lazy for one in found) == 1


def test_a_few_votes_accuse_nobody():
    votes, _ = voted(people(0.05, 0.05, lazy="positive"), items=12)
    assert not any(one.lazy for one in reviewers_of(votes, SENTIMENTS.names))


def test_informedness_is_one_for_agreeing_and_zero_for_rows_that_are_alike():
    assert informedness(np.diag([50, 50, 50]))[0] == 1.0
    assert informedness(np.array([[5, 10, 35]] * 3) * 2)[0] == pytest.approx(0)
    assert informedness(np.array([[0, 0, 50], [0, 0, 3], [0, 0, 50]])) == (
        0.0,
        pytest.approx(0, abs=0.1),
    )
    assert informedness(np.array([[50, 0, 0], [4, 0, 0], [0, 0, 0]])) is None


def test_whoever_may_have_been_unlucky_is_not_accused():
    few = np.array([[2, 3, 0], [2, 4, 0], [0, 0, 0]])
    assert informedness(few)[0] < LAZY_BELOW
    assert _surely_below(few) is None
    assert _surely_below(20 * few) is not None


def test_confusion_matrices_are_used_where_the_votes_allow():
    votes, truth = voted(people(0.1, 0.15, 0.2), items=300)
    chances, method = probabilities(votes, 0.05)
    assert method == DAWID_SKENE
    assert chances.sum(axis=1) == pytest.approx(np.ones(300))
    assert (chances.argmax(axis=1) == truth).mean() > 0.94
    few, _ = voted(people(0.1, 0.15, 0.2), items=20)
    assert probabilities(few, 0.05)[1] == MAJORITY
    alone, _ = voted(people(0.1), each=1)
    assert probabilities(alone, 0.05)[1] == MAJORITY


def test_leaving_the_lazy_one_out_makes_the_labels_better():
    votes, truth = voted(people(0.15, 0.15, lazy="positive"), items=600)
    lazy = [place for place, one in enumerate(reviewers_of(votes, SENTIMENTS.names)) if one.lazy]
    without = votes.only(~np.isin(votes.person, lazy))
    majority = votes.table().argmax(axis=1)
    assert right(without, truth) >= (majority == truth).mean()


@pytest.mark.parametrize(("names", "shares"), [("bad good", (0.3, 0.7)), ("a b c d e", (0.2,) * 5)])
def test_label_sets_of_two_and_five(names, shares):
    votes, truth = voted(people(0.1, 0.1, 0.1), labels=LabelSet.parse(names), shares=shares)
    assert right(votes, truth) > 0.95


def test_the_majoritys_probability_follows_from_the_rate_of_errors():
    found = _by_majority(np.array([[2, 1, 0], [3, 0, 0], [1, 1, 0], [0, 0, 0]]), 0.05)
    assert found[0] == pytest.approx([0.9737, 0.0256, 0.0007], abs=1e-3)
    assert found[1][0] > 0.9999
    assert found[2][:2] == pytest.approx([0.4934, 0.4934], abs=1e-3)
    assert found[3] == pytest.approx([1 / 3] * 3)
    assert np.isfinite(_by_majority(np.array([[40, 0, 0]]), 0.0)).all()


def test_simulated_people_err_at_their_rate_and_the_same_way_each_time():
    person = SimulatedPerson("ann", error=0.1, cannot_tell=0.05)
    said = [person.answer(f"r{n}", "neutral", SENTIMENTS, 1) for n in range(4_000)]
    assert said == [person.answer(f"r{n}", "neutral", SENTIMENTS, 1) for n in range(4_000)]
    assert said.count("cannot_tell") / 4_000 == pytest.approx(0.05, abs=0.015)
    assert said.count("negative") / 4_000 == pytest.approx(0.05, abs=0.015)
    assert said.count("neutral") / 4_000 == pytest.approx(0.85, abs=0.02)


def test_everybody_votes_about_as_often():
    votes = simulated_votes(
        {f"r{n}": "neutral" for n in range(40)}, people(*[0.1] * 4), SENTIMENTS, START
    )
    each = {name: sum(v.person == name for v in votes) for name in ("p0", "p1", "p2", "p3")}
    assert each == dict.fromkeys(each, 30)
    assert votes[0].updated_at >= START + timedelta(seconds=1)
