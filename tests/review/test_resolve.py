import json

import pytest

from components.review.gather import Patience
from components.review.options import ReviewOptions
from components.review.service import ADJUDICATION
from components.review.simulated import SimulatedPerson, simulated_votes
from components.shared.machine.errors import UserError
from components.shared.records.resolved_labels import read_resolved
from components.shared.records.votes import RawVote
from tests.review.conftest import START, log_rows, suspect_rows, write_log, write_suspects

PEOPLE = [SimulatedPerson(name, 0.0) for name in ("ann", "bob", "cid")]


@pytest.fixture
def asked(review, tmp_path):
    """Twelve suspects whose label should be positive; their given label is negative."""
    review.options = ReviewOptions(items=12, uncertain=0, audit=0, label_noise=1)
    review.select(suspects=write_suspects(tmp_path / "suspects", suspect_rows(12)))
    return review


def say(review, item, *answers, start=0, project=1):
    people = ("ann", "bob", "cid", "dan", "eve", "fay")
    review.service.cast(
        project,
        [
            RawVote(item, f"{people[start + n]}/{item}", people[start + n], answer, START, 20.0)
            for n, answer in enumerate(answers)
        ],
    )


def after(review, hour=0):
    gathered = review.gather()
    rows, summary = review.resolve(hour)
    return {row["item_id"]: row for row in rows}, summary, gathered


def test_votes_become_labels_with_where_they_come_from(asked):
    asked.gather()
    say(asked, "s0", "positive", "positive", "positive")
    say(asked, "s1", "positive", "positive", "negative")
    say(asked, "s2", "neutral")
    rows, summary, gathered = after(asked)
    assert list(rows) == ["s0"]
    row = rows["s0"]
    assert (row["sentiment"], row["label_source"], row["votes"]) == (1, "reviewer", 3)
    assert (row["agreement"], row["queue"], row["reason"]) == (1.0, "label_noise", "majority")
    assert row["label_probability"] > 0.999
    assert summary["states"] == {
        **{"resolved": 1, "waiting": 10, "in doubt": 1, "cannot tell": 0, "undecided": 0}
    }
    assert summary["queues"]["label_noise"]["other"] == 1
    assert (gathered.sent, gathered.there_already, gathered.votes) == (0, 12, 7)
    assert summary["price"] == pytest.approx(7 * 20 / 3600 * asked.options.wage)


def test_an_item_in_doubt_is_shown_to_more_people_until_it_is_decided_or_given_up(asked):
    asked.gather()
    say(asked, "s0", "positive", "positive", "negative")
    say(asked, "s1", "positive", "neutral", "negative")
    rows, summary, gathered = after(asked)
    assert [one["item_id"] for one in summary["doubtful"]] == ["s0", "s1"]
    assert summary["doubtful"][1]["votes"] == {"negative": 1, "neutral": 1, "positive": 1}
    assert (rows, gathered.adjudicated) == ({}, 0)
    again = asked.gather()
    assert (again.adjudicated, again.sent) == (2, 0)
    assert again.lacking == 2 + 3 * 10  # one more each, and all of the others
    project = asked.service.ensure_project(asked.labels, 2, ADJUDICATION)
    assert set(asked.service.item_ids(project)) == {"s0", "s1"}
    say(asked, "s0", "positive", start=3, project=project)
    say(asked, "s1", "positive", "neutral", start=3, project=project)
    rows, summary, _ = after(asked, hour=1)
    assert (rows["s0"]["votes"], rows["s0"]["adjudicated"]) == (4, True)
    assert summary["states"]["undecided"] == 1
    assert summary["doubtful"][0]["state"] == "undecided"
    assert asked.gather().adjudicated == 0  # given up: nobody is asked again
    later, summary, _ = after(asked, hour=2)
    assert (later, summary["votes"]["vanished"]) == (rows, 0)


def test_who_cannot_tell_is_counted_and_most_of_them_close_the_item(asked):
    asked.gather()
    say(asked, "s0", "cannot_tell", "cannot_tell", "positive")
    say(asked, "s1", "positive", "positive", "cannot_tell")
    rows, summary, _ = after(asked)
    assert list(rows) == ["s1"]
    assert summary["states"]["cannot tell"] == 1
    assert summary["votes"]["cannot_tell"] == 3


def test_resolving_again_changes_nothing_and_a_new_vote_is_a_later_row(asked):
    asked.gather()
    for item in ("s0", "s1"):
        say(asked, item, "positive", "positive")
    first, summary, _ = after(asked)
    assert summary["new"] == 2
    again, summary, _ = after(asked, hour=1)
    assert (again, summary["new"]) == (first, 0)
    say(asked, "s0", "neutral", "neutral", "neutral")
    last, summary, _ = after(asked, hour=2)
    assert (last["s0"]["sentiment"], summary["new"]) == (0, 1)
    assert last["s0"]["event_timestamp"] > first["s0"]["event_timestamp"]
    assert last["s1"] == first["s1"]
    files = sorted((asked.folder / "resolved").glob("*.parquet"))
    assert [read_resolved(file).num_rows for file in files] == [2, 1]


def test_a_label_whose_votes_were_deleted_is_taken_back(asked):
    asked.gather()
    say(asked, "s0", "positive", "positive", "positive")
    after(asked)
    asked.service.votes[1] = {}
    rows, summary, _ = after(asked, hour=1)
    assert (rows, summary["votes"]["vanished"]) == ({}, 3)
    (row,) = read_resolved(asked.folder / "resolved").to_pylist()
    assert (row["votes"], row["reason"], row["sentiment"]) == (0, "withdrawn", -1)
    assert (row["label_source"], row["weight"]) == ("given", 1.0)
    assert after(asked, hour=2)[1]["new"] == 0


def test_a_live_review_whose_votes_were_deleted_counts_nothing(review, tmp_path):
    review.options = ReviewOptions(items=30, uncertain=0.5, audit=0.5, label_noise=0)
    items, _ = review.select(write_log(tmp_path / "log", log_rows(20)))
    review.gather()
    say(review, items[0]["item_id"], "positive", "positive")
    rows, _, _ = after(review)
    assert rows[items[0]["item_id"]]["weight"] == items[0]["weight"]
    assert rows[items[0]["item_id"]]["review_id"] == items[0]["item_id"]
    review.service.votes[1] = {}
    after(review, hour=1)
    (row,) = read_resolved(review.folder / "resolved").to_pylist()
    assert (row["weight"], row["votes"], row["sentiment"]) == (0.0, 0, 1)


def test_a_lazy_reviewer_is_named_and_counts_no_more(review, tmp_path):
    review.options = ReviewOptions(items=200, uncertain=0, audit=0, label_noise=1)
    review.select(suspects=write_suspects(tmp_path / "suspects", suspect_rows(200)))
    review.gather()
    names = review.labels.names
    truth = {f"s{n}": names[n % 3] for n in range(200)}
    crowd = [*PEOPLE[:2], SimulatedPerson("lazy@example.org", always="negative")]
    review.service.cast(1, simulated_votes(truth, crowd, review.labels, START))
    rows, summary, _ = after(review)
    (lazy,) = [one for one in summary["reviewers"] if one["lazy"]]
    assert (lazy["most"], lazy["votes"]) == ("negative", 200)
    assert lazy["person"] in lazy["in_words"]
    assert "example.org" not in json.dumps(summary)
    assert len(rows) == 200
    assert all(names[row["sentiment"] + 1] == truth[name] for name, row in rows.items())
    alphas = summary["agreement"]
    assert alphas["all"]["interval"]["value"] == 1.0
    assert alphas["with_everybody"]["interval"]["value"] < 0.7


def test_the_audit_has_an_agreement_of_its_own(review, tmp_path):
    review.options = ReviewOptions(items=120, uncertain=0.5, audit=0.5, label_noise=0)
    items, _ = review.select(write_log(tmp_path / "log", log_rows(600)))
    review.gather()
    # People agree where the review is plain, and guess where the model was unsure too.
    crowds = {"audit": 0.0, "uncertain": 0.5}
    for queue, error in crowds.items():
        truth = {one["item_id"]: one["label"] for one in items if one["queue"] == queue}
        crowd = [SimulatedPerson(person.name, error) for person in PEOPLE]
        review.service.cast(1, simulated_votes(truth, crowd, review.labels, START))
    found = after(review)[1]["agreement"]
    assert found["audit"]["interval"]["value"] == 1.0
    assert found["all"]["interval"]["high"] < 0.9


def test_items_without_votes_wait_and_the_next_run_takes_them_up(asked):
    first = asked.gather()
    assert (first.sent, first.lacking, first.events) == (12, 36, 0)
    rows, summary, again = after(asked)
    assert (rows, summary["states"]["waiting"]) == ({}, 12)
    assert (again.sent, again.there_already) == (0, 12)


def test_waiting_ends_when_all_votes_are_there_or_time_is_up(asked):
    now = [0.0]
    votes = simulated_votes({f"s{n}": "positive" for n in range(12)}, PEOPLE, asked.labels, START)

    def sleep(seconds):
        now[0] += seconds
        asked.service.cast(1, votes[: int(now[0] / 10)])

    asked.gather()
    done = asked.gather(Patience(100, lambda: now[0], sleep))
    assert (done.waited_seconds, done.votes, done.lacking) == (100, 10, 26)
    done = asked.gather(Patience(3600, lambda: now[0], sleep))
    assert (done.votes, done.lacking) == (36, 0)
    assert done.waited_seconds < 600


def test_a_damaged_journal_stops_the_resolution_with_a_sentence(asked):
    asked.gather()
    say(asked, "s0", "positive", "positive")
    after(asked)
    (file,) = (asked.folder / "votes").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match="journal is damaged"):
        asked.resolve()
