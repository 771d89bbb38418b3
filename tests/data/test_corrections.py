import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.prepare import PrepareOptions, prepare
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_parquet
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.resolved_labels import resolved_labels_schema
from components.shared.records.reviews import REVIEW_SCHEMA
from tests.data.test_prepare import records
from tests.shared.records.test_resolved_labels import ROW, START


def reviewed(name="new", **changed):
    """A live review on which people agreed that it is negative."""
    row = {"item_id": name, "review_id": name, "sentiment": -1, **ROW, "event_timestamp": START}
    row |= {"review_body": f"Live and unheard of: {name}", "queue": "uncertain", "weight": 1.7}
    return row | changed


@pytest.fixture
def run(tmp_path):
    """Prepare made-up reviews with resolved labels: summary, rows by id, disputes."""

    def made(resolved, labels=SENTIMENTS, **options):
        write_parquet(tmp_path / "r", pa.Table.from_pylist(records(), schema=REVIEW_SCHEMA))
        given = tmp_path / "resolved"
        schema = resolved_labels_schema(labels)
        write_parquet(given, pa.Table.from_pylist(resolved, schema=schema))
        places = [tmp_path / name for name in ("r", "p", "s")]
        options, disputes = PrepareOptions(**options), tmp_path / "d"
        summary = prepare(*places, options, resolved=given, disputes=disputes)
        rows = {row["review_id"]: row for row in pq.read_table(tmp_path / "p").to_pylist()}
        return summary, rows, read_json(disputes)

    return made


@pytest.fixture
def plain(tmp_path):
    """The same without any resolved label, by split."""
    write_parquet(tmp_path / "r0", pa.Table.from_pylist(records(), schema=REVIEW_SCHEMA))
    prepare(*(tmp_path / name for name in ("r0", "p0", "s0")))
    rows = pq.read_table(tmp_path / "p0").to_pylist()
    splits = {name: [] for name in ("train", "validation", "test")}
    for row in rows:
        splits[row["split"]].append(row)
    return splits


def test_reviewed_live_reviews_come_to_train_with_weight_and_provenance(run, plain):
    summary, rows, disputes = run([reviewed(), reviewed("other", sentiment=0, title="Hm")])
    new = rows.pop("new")
    assert (new["split"], new["copies"], new["weight"]) == ("train", 1, 1.7)
    assert (new["sentiment"], new["label_source"], new["label_probability"]) == (
        -1,
        "reviewer",
        0.9,
    )
    assert new["event_timestamp"] == START
    assert rows.pop("other")["title"] == "Hm"
    before = {row["review_id"]: row for split in plain.values() for row in split}
    assert rows == before
    assert summary.reviewed == {"added": 2, "known": 0, "held_out": 0, "disputes": 0}
    assert summary.splits["train"]["rows"] == len(plain["train"]) + 2
    assert summary.splits["test"]["rows"] == len(plain["test"])
    assert disputes == []


def test_a_text_of_test_or_validation_is_not_trained_on_however_it_is_written(run, plain):
    test, validation = plain["test"][0], plain["validation"][0]
    titled = next(row for row in plain["test"] if row["title"])
    whole = f"{titled['title']}. {titled['review_body']}"  # as the log has it
    same = {"sentiment": test["sentiment"]}
    _, rows, _ = run(
        [
            reviewed("a", review_body=test["review_body"].upper().replace(" ", "  ") + "!!"),
            reviewed("b", review_body=validation["review_body"]),
            reviewed("c", review_body=whole, sentiment=titled["sentiment"]),
            reviewed("d", review_body=plain["train"][0]["review_body"], **same),
        ]
    )
    assert {"a", "b", "c"}.isdisjoint(rows)
    assert rows["d"]["split"] == "train"


def test_a_masked_text_is_known_by_what_is_left_of_it(run, plain):
    body = plain["test"][0]["review_body"]
    masked = body.replace("number", "[name]")
    _, rows, _ = run([reviewed("a", review_body=masked), reviewed("b", review_body="[email] Hi")])
    assert "a" not in rows
    assert "b" in rows


def test_what_people_say_otherwise_of_a_test_review_is_a_dispute_and_nothing_else(run, plain):
    first, second = plain["test"][:2]
    validation = plain["validation"][0]
    wrong = -1 if first["sentiment"] == 1 else 1
    summary, rows, disputes = run(
        [
            reviewed(first["review_id"], sentiment=wrong),
            reviewed("twin", review_body=first["review_body"], sentiment=wrong),
            reviewed("agrees", review_body=second["review_body"], sentiment=second["sentiment"]),
            reviewed(validation["review_id"], sentiment=-1 if validation["sentiment"] == 1 else 1),
        ]
    )
    assert rows[first["review_id"]] == first
    assert [(one["review_id"], one["reviewed_as"]) for one in disputes] == [
        (first["review_id"], first["review_id"]),
        (first["review_id"], "twin"),
    ]
    assert disputes[0]["given"] == SENTIMENTS.names[first["sentiment"] + 1]
    assert disputes[0]["reviewed"] == SENTIMENTS.names[wrong + 1]
    assert summary.reviewed == {"added": 0, "known": 2, "held_out": 2, "disputes": 2}
    assert first["review_body"] not in str(disputes)


def test_labels_of_reviews_that_the_data_hold_are_left_to_the_feature_store(run, plain):
    known = plain["train"][0]
    summary, rows, _ = run([reviewed(known["review_id"], sentiment=-known["sentiment"])])
    assert rows[known["review_id"]] == known
    assert summary.reviewed["known"] == 1


def test_labels_that_were_taken_back_add_nothing(run):
    rows = [reviewed("a", votes=0), reviewed("b", weight=0.0), reviewed("c", review_body=" ")]
    assert run(rows)[0].reviewed["added"] == 0


def test_balancing_counts_the_added_reviews(run, plain):
    many = [reviewed(f"new{number}") for number in range(300)]
    summary, rows, _ = run(many, balance="oversample")
    shown = summary.copies["classes"]
    assert len(set(shown.values())) == 1
    counted = sum(row["copies"] for row in rows.values() if row["review_id"].startswith("new"))
    assert counted >= 300
    assert sum(shown.values()) == sum(r["copies"] for r in rows.values() if r["split"] == "train")


def test_labels_of_other_classes_and_a_missing_place_are_refused(run, tmp_path):
    with pytest.raises(UserError, match="are of the classes bad good, the reviews of sentiments"):
        run([reviewed(sentiment=0)], labels=LabelSet.parse("bad good"))
    with pytest.raises(UserError, match="run the review first"):
        prepare(*(tmp_path / name for name in ("r", "p", "s")), resolved=tmp_path / "none")
