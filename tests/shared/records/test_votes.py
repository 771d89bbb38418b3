from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.records import votes
from components.shared.records.votes import RawVote, keep_votes, read_votes, standing

START = datetime(2026, 11, 22, tzinfo=UTC)
KEY = b"a key of the tests"


def vote(number, item="r1", person="ann@example.org", label="positive", at=START):
    return RawVote(item, f"a{number}", person, label, at, 12.5)


def kept(journal, seen, there=None, hour=0):
    there = {one.item_id for one in seen} if there is None else there
    return keep_votes(journal, seen, there, KEY, START + timedelta(hours=hour))


def told(table):
    return [(row["annotation_id"], row["label"], row["event"]) for row in table.to_pylist()]


def test_reading_the_same_votes_twice_adds_nothing(tmp_path):
    seen = [vote(1), vote(2, person="bob@example.org")]
    assert told(kept(tmp_path, seen)) == [("a1", "positive", "voted"), ("a2", "positive", "voted")]
    files = sorted(tmp_path.glob("*.parquet"))
    assert kept(tmp_path, seen, hour=1).num_rows == 0
    assert sorted(tmp_path.glob("*.parquet")) == files


def test_what_changed_or_vanished_becomes_an_event_and_the_journal_only_grows(tmp_path):
    seen = [vote(1), vote(2, item="r2"), vote(3, item="r3")]
    kept(tmp_path, seen)
    before = {file: file.read_bytes() for file in tmp_path.glob("*.parquet")}
    changed = replace(seen[0], label="negative", updated_at=START + timedelta(minutes=5))
    events = kept(tmp_path, [changed, seen[1]], {"r1", "r2", "r3"}, hour=1)
    assert told(events) == [("a1", "negative", "changed"), ("a3", "positive", "vanished")]
    assert {file: file.read_bytes() for file in before} == before
    assert told(standing(read_votes(tmp_path))) == [
        ("a1", "negative", "changed"),
        ("a2", "positive", "voted"),
    ]
    # Once more, and nothing is new; then the vote is there again.
    assert kept(tmp_path, [changed, seen[1]], {"r1", "r2", "r3"}, hour=2).num_rows == 0
    assert told(kept(tmp_path, [changed, *seen[1:]], hour=3)) == [("a3", "positive", "voted")]


def test_votes_stand_where_the_task_was_removed_with_them(tmp_path):
    kept(tmp_path, [vote(1), vote(2, item="r2")])
    assert kept(tmp_path, [vote(2, item="r2")], {"r2"}, hour=1).num_rows == 0
    assert standing(read_votes(tmp_path)).num_rows == 2


def test_a_service_that_lost_its_database_takes_no_votes_back(tmp_path):
    seen = [vote(number, item=f"r{number}") for number in range(votes.MANY)]
    there = {one.item_id for one in seen}
    kept(tmp_path, seen)
    with pytest.raises(UserError, match=r"none of the 10 votes in the journal.*restore it"):
        kept(tmp_path, [], there, hour=1)
    assert standing(read_votes(tmp_path)).num_rows == votes.MANY
    assert kept(tmp_path, seen[:1], there, hour=1).num_rows == votes.MANY - 1


def test_no_person_is_named_in_any_file(tmp_path):
    kept(tmp_path, [vote(1), vote(2, item="r2"), vote(3, person="bob@example.org")])
    written = b"".join(file.read_bytes() for file in tmp_path.glob("*.parquet"))
    assert b"example.org" not in written
    people = read_votes(tmp_path)["annotator"].to_pylist()
    assert people[0] == people[1] != people[2]


def test_a_truncated_file_of_the_journal_is_named_with_what_to_do(tmp_path):
    kept(tmp_path, [vote(1)])
    (file,) = tmp_path.glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"journal is damaged.*{file.name}.*move it away"):
        read_votes(tmp_path)


def test_a_journal_that_was_never_written_has_no_votes(tmp_path):
    assert read_votes(tmp_path / "none").equals(votes.VOTES_SCHEMA.empty_table())
    assert votes.append(tmp_path / "none", votes.VOTES_SCHEMA.empty_table()) is None
    assert not (tmp_path / "none").exists()


looks = st.lists(
    st.dictionaries(st.integers(0, 5), st.sampled_from(["positive", "negative"])), max_size=5
)


@given(looks)
def test_after_any_series_of_looks_what_stands_is_what_the_last_one_showed(tmp_path_factory, looks):
    journal = tmp_path_factory.mktemp("votes")
    there = {f"r{number}" for number in range(6)}
    for hour, look in enumerate(looks):
        seen = [vote(number, item=f"r{number}", label=label) for number, label in look.items()]
        kept(journal, seen, there, hour)
    found = standing(read_votes(journal))
    shown = {f"a{number}": label for number, label in (looks[-1] if looks else {}).items()}
    pairs = zip(found["annotation_id"].to_pylist(), found["label"].to_pylist(), strict=True)
    assert dict(pairs) == shown


def test_events_of_another_form_are_not_taken(tmp_path):
    with pytest.raises((ValueError, KeyError)):
        votes.append(tmp_path, pa.table({"read_at": [START], "item_id": ["r1"]}))
    assert list(tmp_path.glob("*.parquet")) == []
