from datetime import timedelta

import numpy as np

from components.review.counting import count_votes, worked
from components.shared.records.labels import SENTIMENTS
from components.shared.records.votes import RawVote, events_of, keep_votes, read_votes
from tests.review.conftest import KEY, START


def vote(person, label="positive", item="r1", minute=0, number=""):
    at = START + timedelta(minutes=minute)
    return RawVote(item, number or f"{person}/{item}/{minute}", person, label, at, 10.0 + minute)


def counted(*seen, items=("r1", "r2")):
    from components.shared.records.votes import VOTES_SCHEMA

    events = events_of(VOTES_SCHEMA.empty_table(), seen, items, KEY, START)
    return count_votes(events, items, SENTIMENTS)


def test_each_person_has_one_vote_on_an_item_the_last():
    votes, counts = counted(
        vote("ann", "negative", minute=5),
        vote("ann", "positive", minute=1),
        vote("bob", "positive"),
        vote("ann", "positive", item="r2"),
        vote("bob", "neutral", item="r2", minute=1),
        vote("bob", "neutral", item="r2", minute=2),
    )
    assert votes.table().tolist() == [[1, 0, 1], [0, 1, 1]]
    assert (counts.counted, counts.repeated, counts.contradictory) == (4, 2, 1)


def test_what_is_no_answer_is_left_out_and_told():
    votes, counts = counted(
        vote("ann", "nonsense"),
        vote("bob", "<b>"),
        vote("cid", "nonsense"),
        vote("dan", ""),
        vote("eve", "cannot_tell"),
        vote("fay", item="never drawn"),
        vote("gus", "neutral"),
    )
    assert votes.table().tolist() == [[0, 1, 0]]
    assert votes.cannot_tell().tolist() == [1]
    assert (counts.unknown_label, counts.unknown_labels) == (3, ["nonsense", "<b>"])
    assert (counts.skipped, counts.cannot_tell, counts.unknown_item) == (1, 1, 1)
    assert counts.counted == 1


def test_a_vote_that_was_withdrawn_or_changed_counts_as_it_stands(tmp_path):
    ann, bob = vote("ann", number="a"), vote("bob", number="b")
    keep_votes(tmp_path, [ann, bob], {"r1"}, KEY, START)
    changed = vote("ann", "negative", minute=9, number="a")
    keep_votes(tmp_path, [changed], {"r1"}, KEY, START + timedelta(hours=1))
    votes, counts = count_votes(read_votes(tmp_path), {"r1"}, SENTIMENTS)
    assert votes.table().tolist() == [[1, 0, 0]]
    assert (counts.events, counts.changed, counts.vanished) == (4, 1, 1)
    assert counts.seconds == 19.0
    assert worked(read_votes(tmp_path)) == (2, 10.0)  # bob's, which is gone, was paid for as well


def test_without_votes_there_is_nothing_to_count():
    votes, counts = counted()
    assert votes.table().shape == (0, 3)
    assert (counts.counted, counts.seconds) == (0, None)
    assert votes.only(np.zeros(0, bool)).items == []
