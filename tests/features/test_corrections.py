"""What people agreed on: it counts from then on, for the text that it was said of."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.features import corrections, views
from components.features.corrections import add_resolved_labels
from components.features.retrieve import retrieve_training_set
from components.shared.machine.errors import UserError
from components.shared.machine.online_features import online_features
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.resolved_labels import resolved_labels_schema, write_resolved

pytestmark = pytest.mark.usefixtures("store_dir")

SAID = datetime(2024, 6, 1, 9, tzinfo=UTC)
MAY, JULY = "2024-05-01", "2024-07-01"


@pytest.fixture
def resolve(tmp_path):
    """Writes resolved labels: (review_id, sentiment) or (review_id, sentiment, columns)."""

    def run(*answers, at=SAID, labels=SENTIMENTS):
        rows = []
        for review_id, sentiment, *more in answers:
            row = {"item_id": review_id, "review_id": review_id, "title": None}
            row |= {"review_body": "Lovely [name] dress", "product_category": "Dresses"}
            row |= {"sentiment": sentiment, "label_source": "reviewer", "label_probability": 0.9}
            row |= {"votes": 3, "agreement": 1.0, "weight": 2.5, "queue": "uncertain"}
            row |= {"inclusion_probability": 0.1, "occurrences": 1, "reason": "majority"}
            row |= {"adjudicated": False, "event_timestamp": at}
            rows.append(row | {name: value for extra in more for name, value in extra.items()})
        schema = resolved_labels_schema(labels)
        whole = [dict.fromkeys(schema.names) | row for row in rows]
        write_resolved(tmp_path / "resolved", pa.Table.from_pylist(whole, schema=schema))
        return tmp_path / "resolved"

    return run


@pytest.fixture
def taught(build, make_prepared, tmp_path):
    """A built data set; returns a function that retrieves it: the summary, and the rows by id."""
    prepared = make_prepared()
    service = build(prepared).feature_service

    def read(as_of="", of=prepared):
        done = retrieve_training_set(of, service, tmp_path / "set.parquet", as_of)
        rows = pq.read_table(tmp_path / "set.parquet").to_pylist()
        return done, {row["review_id"]: row for row in rows}

    return read


def split_ids(rows):
    by_split = {}
    for row in rows.values():
        by_split.setdefault(row["split"], []).append(row["review_id"])
    return by_split


def test_a_correction_wins_from_then_on_and_not_before(taught, resolve):
    may, rows = taught(MAY)
    by_split = split_ids(rows)
    one, two, tested = by_split["train"][0], by_split["validation"][0], by_split["test"][0]
    turned = {one: -rows[one]["sentiment"] or 1, two: rows[two]["sentiment"]}
    turned[tested] = -rows[tested]["sentiment"] or 1
    done = add_resolved_labels(resolve(*turned.items()))
    assert (done.resolved, done.added, done.new_reviews) == (3, 3, 0)
    july, after = taught(JULY)
    assert july.corrected == 2
    for review_id in (one, two):
        row = after[review_id]
        assert (row["sentiment"], row["label_source"]) == (turned[review_id], "reviewer")
        assert (row["label_probability"], row["weight"]) == (0.9, 1.0)
    # The stars of a review whose class was changed say otherwise than people do.
    assert after[one]["rating"] is None
    assert after[two]["rating"] == rows[two]["rating"]
    assert after[tested] == rows[tested]
    others = rows.keys() - {one, two}
    assert {name: after[name] for name in others} == {name: rows[name] for name in others}
    # Bit for bit what it was.
    again, _ = taught(MAY)
    assert again.sha256 == may.sha256 != july.sha256
    assert taught()[0].sha256 == july.sha256
    (found,) = online_features([one], "sentiment_training")
    assert (found["sentiment"], found["votes"], found["agreement"]) == (turned[one], 3, 1.0)


def test_test_labels_are_frozen_whatever_date_the_data_give_them(
    taught, resolve, build, make_prepared, changed
):
    _, rows = taught(MAY)
    tested = split_ids(rows)["test"]
    add_resolved_labels(resolve(*((one, -rows[one]["sentiment"] or 1) for one in tested)))
    redated = changed(make_prepared(), "redated", event_timestamp=lambda _: SAID + timedelta(30))
    build(redated)
    done, after = taught(of=redated)
    assert (done.corrected, done.left_out) == (0, 0)
    assert [after[one]["sentiment"] for one in tested] == [rows[one]["sentiment"] for one in tested]


def test_the_same_labels_are_added_once(taught, resolve):
    _, rows = taught(MAY)
    folder = resolve((split_ids(rows)["train"][0], 1))
    assert add_resolved_labels(folder).added == 1
    again = add_resolved_labels(f"file://{folder}")
    assert (again.resolved, again.added, again.tokenised) == (1, 0, 0)
    assert len(views.files_of("review_labels")) == 2
    assert add_resolved_labels("").resolved == 0


def test_a_later_label_of_people_replaces_an_earlier_one_and_may_be_taken_back(taught, resolve):
    _, rows = taught(MAY)
    one, two = split_ids(rows)["train"][:2]
    first, second = rows[one]["sentiment"], -rows[one]["sentiment"] or 1
    folder = resolve((one, second), (two, rows[two]["sentiment"]))
    add_resolved_labels(folder)
    resolve((one, first), at=SAID + timedelta(days=90))
    add_resolved_labels(folder)
    _, july = taught(JULY)
    _, now = taught()
    assert (july[one]["sentiment"], now[one]["sentiment"]) == (second, first)
    assert now[one]["label_source"] == now[two]["label_source"] == "reviewer"
    back = {"votes": 0, "reason": "withdrawn", "agreement": 0.0}
    resolve((two, rows[two]["sentiment"], back), at=SAID + timedelta(days=99))
    add_resolved_labels(folder)
    done, now = taught()
    assert now[two] == rows[two]
    assert done.corrected == 1
    (found,) = online_features([two], "sentiment_training")
    assert (found["label_source"], found["votes"]) == (rows[two]["label_source"], 0)


def test_what_was_handed_out_stays_though_labels_come_late(taught, resolve):
    """Resolved in June, heard of after somebody had asked as of July."""
    july, rows = taught(JULY)
    one = split_ids(rows)["train"][0]
    folder = resolve((one, -rows[one]["sentiment"] or 1))
    assert add_resolved_labels(folder).added == 1
    assert taught(JULY)[0].sha256 == july.sha256
    now, after = taught()
    assert after[one]["label_source"] == "reviewer"
    assert taught(now.as_of)[0].sha256 == now.sha256
    assert add_resolved_labels(folder).added == 0


def test_of_two_labels_that_come_late_at_once_the_later_one_counts(taught, resolve):
    _, rows = taught()
    one, two = split_ids(rows)["train"][:2]
    for days, sentiments in enumerate(((1, -1), (-1, 0), (0, 1))):
        answers = zip((one, two), sentiments, strict=True)
        folder = resolve(*answers, at=SAID + timedelta(days=days))
    assert add_resolved_labels(folder).added == 6
    _, after = taught()
    assert (after[one]["sentiment"], after[two]["sentiment"]) == (0, 1)


def test_a_killed_addition_is_completed_by_the_next(taught, resolve, monkeypatch):
    _, rows = taught(MAY)
    one = split_ids(rows)["train"][0]
    folder = resolve((one, -rows[one]["sentiment"] or 1))

    def die(*_):
        raise SystemExit(9)

    for victim in ("_add_labels", "register_and_copy"):
        with monkeypatch.context() as patched:
            patched.setattr(corrections, victim, die)
            with pytest.raises(SystemExit):
                add_resolved_labels(folder)
    assert add_resolved_labels(folder).added == 0
    assert online_features([one], "sentiment_training")[0]["label_source"] == "reviewer"


def test_reviews_that_the_store_does_not_know_come_with_text_and_tokens(taught, resolve):
    taught(MAY)
    done = add_resolved_labels(resolve(("text-0123", 1), ("r00001", 0)))
    assert (done.added, done.new_reviews, done.tokenised) == (2, 1, 1)
    (found,) = online_features(["text-0123"], done.feature_service)
    assert (found["sentiment"], found["weight"], found["n_tokens"] > 2) == (1, 2.5, True)
    assert sum(pq.read_metadata(file).num_rows for file in views.files_of("review_text")) == 61


def test_what_prepare_makes_of_new_reviews_is_known_already(
    taught, resolve, build, make_prepared, changed
):
    """Prepare adds them to the training part, with their texts cleaned."""
    taught(MAY)
    answer = {"review_body": " So\u0000ft \t dress ", "title": ""}
    add_resolved_labels(resolve(("text-1", 1, answer), ("empty", 1, {"review_body": " "})))
    added = {"review_id": "text-1", "title": None, "review_body": "Soft dress", "split": "train"}
    added |= {"sentiment": 1, "rating": None, "label_source": "reviewer", "copies": 1}
    added |= {
        "product_category": "Dresses",
        "label_probability": 0.9,
        "weight": 2.5,
        "event_timestamp": SAID,
    }
    more = changed(
        make_prepared(),
        "more",
        **{
            name: lambda row, name=name, value=value: (
                value if row["review_id"] == "r00001" else row[name]
            )
            for name, value in added.items()
        },
    )
    done = build(more)
    assert (done.new_texts, done.new_labels, done.tokenised) == (0, 0, 0)
    summary, rows = taught(of=more)
    assert (rows["text-1"]["weight"], rows["text-1"]["sentiment"]) == (2.5, 1)
    assert summary.corrected == 0
    assert "text-1" not in taught(MAY, of=more)[1]


def test_a_tokenizer_that_is_gone_leaves_the_tokens_to_the_next_build(
    taught, resolve, monkeypatch, caplog
):
    taught(MAY)

    def gone(*_):
        raise UserError("there is no base model there")

    monkeypatch.setattr(corrections, "ReviewTokenizer", gone)
    done = add_resolved_labels(resolve(("text-0123", 1)))
    assert (done.added, done.new_reviews, done.tokenised) == (1, 1, 0)
    assert "build_features has to tokenise the new reviews: there is no base" in caplog.text


def test_data_that_come_later_do_not_overrule_people(
    taught, resolve, build, make_prepared, changed
):
    _, rows = taught(MAY)
    one = split_ids(rows)["train"][0]
    said = -rows[one]["sentiment"] or 1
    add_resolved_labels(resolve((one, said)))
    weak = changed(
        make_prepared(),
        "weak",
        label_source=lambda row: "weak" if row["split"] == "train" else row["label_source"],
    )
    build(weak)
    _, after = taught(of=weak)
    assert (after[one]["sentiment"], after[one]["label_source"]) == (said, "reviewer")
    (found,) = online_features([one], "sentiment_training")
    assert found["label_source"] == "reviewer"


def test_a_label_is_of_the_text_that_people_read(taught, resolve, build, make_prepared, tmp_path):
    """Other data use the id for another review: nobody labelled that one."""
    _, rows = taught(MAY)
    one = split_ids(rows)["train"][0]
    said = -rows[one]["sentiment"] or 1
    add_resolved_labels(resolve((one, said)))
    other = make_prepared(seed=2)
    service = build(other).feature_service
    assert add_resolved_labels(tmp_path / "resolved").added == 0
    done = retrieve_training_set(other, service, tmp_path / "other.parquet")
    assert done.corrected == 0
    done, after = taught()
    assert (done.corrected, after[one]["sentiment"]) == (1, said)
    # What people say now is said of the newest text of the id: the other data's.
    two = split_ids(rows)["train"][1]
    add_resolved_labels(resolve((two, -rows[two]["sentiment"] or 1), at=datetime.now(UTC)))
    assert taught()[0].sha256 == done.sha256
    (labelled,) = {
        row["split"] for row in pq.read_table(other).to_pylist() if row["review_id"] == two
    }
    done = retrieve_training_set(other, service, tmp_path / "other.parquet")
    assert done.corrected == (labelled != "test")


def test_labels_of_other_classes_go_into_their_own_view(taught, resolve):
    taught(MAY)
    labels = LabelSet.parse("bad good")
    done = add_resolved_labels(resolve(("r00001", 0), labels=labels))
    assert done.added == 1
    (view,) = {path.parent.name for path in views.data_dir().glob("review_labels_*/*.parquet")}
    assert pq.read_table(views.files_of(view)[0]).num_rows == 1


def test_a_store_without_tokens_takes_labels_too(resolve):
    done = add_resolved_labels(resolve(("a", 1)))
    assert (done.added, done.new_reviews, done.tokenised, done.feature_service) == (1, 1, 0, "")


def test_bad_places_and_labels_are_refused(resolve, tmp_path):
    (tmp_path / "half.parquet").write_bytes(b"PAR1")
    for place, words in (
        (tmp_path / "none", "does not exist; run the review first"),
        (tmp_path / "half.parquet", "is not a Parquet file"),
        ("s3://bucket/resolved", "is not on this machine"),
        (resolve(("a", 7)), "has the sentiment 7, which is not one of -1, 0, 1"),
    ):
        with pytest.raises(UserError, match=words):
            add_resolved_labels(place)
    assert not views.files_of("review_labels")
