import random
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data import reading
from components.data.balance import BALANCES
from components.data.ingest import UNDATED
from components.data.prepare import PrepareOptions, prepare
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json, write_parquet
from components.shared.records.forgotten import note_of
from components.shared.records.reviews import (
    LABELLED_SCHEMA,
    PREPARED_SCHEMA,
    REVIEW_SCHEMA,
    SPLITS,
)
from components.shared.records.splits import text_identity


def records(n=400, seed=0):
    sentiments = random.Random(seed).choices((-1, 0, 1), (0.12, 0.12, 0.76), k=n)
    return [
        {
            "review_id": f"id{i}",
            "review_body": f"Review  number {i} &amp; more",
            "title": None if i % 5 else "  A\u200b  title ",
            "sentiment": sentiment,
            "rating": {-1: 1, 0: 3, 1: 5}[sentiment],
            "product_category": ("Dresses", "Knits", None, "Pants")[i % 4],
            "event_timestamp": UNDATED,
        }
        for i, sentiment in enumerate(sentiments)
    ]


@pytest.fixture
def run(tmp_path):
    def prepared(rows, **options):
        schema = LABELLED_SCHEMA if "label_source" in (rows or [{}])[0] else REVIEW_SCHEMA
        write_parquet(tmp_path / "r", pa.Table.from_pylist(rows, schema=schema))
        options = PrepareOptions(**options)
        summary = prepare(tmp_path / "r", tmp_path / "p", tmp_path / "s", options)
        left_out = summary.unlabelled + summary.emptied + summary.weak_left_out
        assert summary.rows_in + summary.reviewed["added"] == summary.rows + left_out
        assert read_json(tmp_path / "s")["splits"] == summary.splits
        return summary, pq.read_table(tmp_path / "p").to_pylist()

    return prepared


def test_rows_come_out_whole_cleaned_and_in_their_order(run, tmp_path):
    rows = records()
    summary, out = run(rows)
    assert pq.read_schema(tmp_path / "p").equals(PREPARED_SCHEMA)
    assert [r["review_id"] for r in out] == [r["review_id"] for r in rows]
    assert out[0]["review_body"] == "Review number 0 &amp; more"
    assert (out[0]["title"], out[1]["title"]) == ("A title", None)
    assert {r["copies"] for r in out} == {1}
    for name in SPLITS:
        assert summary.splits[name]["rows"] == sum(r["split"] == name for r in out)
    assert summary.majority_class == "positive"
    tested = [r["sentiment"] for r in out if r["split"] == "test"]
    assert summary.majority_rate == tested.count(1) / len(tested)


def test_neither_the_order_of_rows_nor_batches_move_a_row(run, monkeypatch):
    rows = records()
    _, out = run(rows, balance="undersample")
    monkeypatch.setattr(reading, "BATCH_ROWS", 17)
    _, again = run(rows[::-1], balance="undersample")
    assert out == again[::-1]


def test_the_same_text_is_never_in_two_splits(run):
    rows = records()
    rng = random.Random(1)
    for i, row in enumerate(records(300)):
        copy = rng.choice(rows[:400])["review_body"]
        variant = rng.choice((copy.upper(), f" {copy}!!", copy.replace(" ", "\n"), f"<{copy}>"))
        rows.append({**row, "review_id": f"twin{i}", "review_body": variant})
    summary, out = run(rows)
    by_text: dict[str, set[str]] = {}
    for row in out:
        by_text.setdefault(text_identity(row["review_body"]), set()).add(row["split"])
    assert {len(splits) for splits in by_text.values()} == {1}
    assert summary.repeated_texts == 300
    assert summary.conflicting_texts > 0


@pytest.mark.parametrize("balance", BALANCES)
def test_only_training_is_balanced(run, balance):
    summary, out = run(records(), balance=balance)
    assert {r["copies"] for r in out if r["split"] != "train"} == {1}
    counts = {summary.copies["classes"][name] for name in ("negative", "neutral", "positive")}
    assert len(counts) == (3 if balance == "none" else 1)
    copies = [r["copies"] for r in out if r["split"] == "train"]
    found = {"shown": sum(copies), "left_out": copies.count(0), "largest": max(copies)}
    assert found.items() <= summary.copies.items()
    assert summary.options["balance"] == balance


def test_rows_without_label_or_text_are_left_out_and_counted(run):
    rows = records()
    rows[3] |= {"sentiment": None, "rating": None}
    rows[5]["review_body"] = "<br/>"
    summary, out = run(rows, strip_html=True)
    assert (summary.unlabelled, summary.emptied) == (1, 1)
    assert {"id3", "id5"}.isdisjoint(r["review_id"] for r in out)
    assert next(r for r in out if r["review_id"] == "id6")["review_body"].endswith("6 & more")


def test_personal_data_are_masked_for_all_that_follows_where_asked(run):
    rows = records()
    rows[4]["review_body"] += " ask Zbigniew, a@b.com"
    for asked, end in ((False, "ask Zbigniew, a@b.com"), (True, "ask [name], [email]")):
        _, out = run(rows, mask_texts=asked)
        found = {row["review_id"]: row["review_body"] for row in out}
        assert found["id4"].endswith(end)


def test_a_review_that_was_deleted_on_request_is_left_out(run, monkeypatch, tmp_path):
    monkeypatch.setenv("LOCAL_STATE", str(tmp_path / "state"))
    write_json(note_of("id4"), {})
    summary, out = run(records())
    assert "id4" not in {row["review_id"] for row in out}
    assert summary.rows == len(records()) - 1


def test_each_row_says_where_its_label_comes_from(run):
    rows = records()
    rows[3] |= {"rating": None}
    _, out = run(rows)
    assert [row["review_id"] for row in out if row["label_source"] == "given"] == ["id3"]
    assert {row["label_source"] for row in out} == {"given", "rating"}
    assert {row["label_probability"] for row in out} == {1.0}


def labelled(rows, source="rating", probability=1.0):
    named = {"label_source": source, "label_probability": probability}
    return [row | named for row in rows]


def weak_rows():
    """New texts, and texts of `records` in other letters."""
    new = [
        row | {"review_id": f"new{i}", "review_body": f"Not seen before {i}", "rating": None}
        for i, row in enumerate(records(60, seed=5))
    ]
    known = [
        row | {"review_id": f"known{i}", "review_body": row["review_body"].upper(), "rating": None}
        for i, row in enumerate(records())
    ]
    return labelled(new + known, "weak", 0.8)


@pytest.mark.parametrize("balance", ["none", "oversample"])
def test_weak_labels_stay_in_train_and_move_nobody(run, balance):
    _, before = run(records(), balance=balance)
    summary, out = run(weak_rows() + labelled(records()), balance=balance)
    weak = [row for row in out if row["label_source"] == "weak"]
    others = [row for row in out if row["label_source"] != "weak"]
    assert [(r["review_id"], r["split"]) for r in others] == [
        (r["review_id"], r["split"]) for r in before
    ]
    assert {row["split"] for row in weak} == {"train"}
    assert {row["label_probability"] for row in weak} == {0.8}
    held_out = [row["review_id"] for row in before if row["split"] != "train"]
    left = {row["review_id"] for row in weak}
    assert left == {f"new{i}" for i in range(60)} | {
        f"known{row['review_id'][2:]}" for row in before if row["split"] == "train"
    }
    assert (summary.weak, summary.weak_left_out) == (len(weak), len(held_out))
    texts = {row["split"]: set() for row in out}
    for row in out:
        texts[row["split"]].add(text_identity(row["review_body"]))
    assert not texts["train"] & (texts["validation"] | texts["test"])


SEEDS = (-1, 10**30, 10**400, float("nan"), float("inf"))


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (records(10), {}, "at least 10 of each class"),
        ([r for r in records() if r["sentiment"] != 0], {}, "0 neutral.*or name the classes"),
        ([], {}, "has no rows"),
        ([{**r, "sentiment": None, "rating": None} for r in records(20)], {}, "none of the 20"),
        (weak_rows(), {}, "none of the 460 reviews"),
        (records(), {"balance": "smote"}, "balance must be one of none.*'smote'"),
        (records(), {"test_share": 0.9}, "test_share is 0.9"),
        *((records(20), {"seed": seed}, "seed must lie from 0 to") for seed in SEEDS),
    ],
)
def test_data_that_cannot_be_divided_raise_an_error(run, tmp_path, rows, options, words):
    with pytest.raises(UserError, match=words):
        run(rows, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r"]


def test_a_file_without_reviews_raises_an_error(tmp_path):
    source, outputs = tmp_path / "r", (tmp_path / "p", tmp_path / "s")
    for content, words in (
        (None, "does not exist"),
        (b"", "not a Parquet file"),
        (b"no parquet", "not a Parquet file"),
    ):
        if content is not None:
            source.write_bytes(content)
        with pytest.raises(UserError, match=rf"/r .*{words}"):
            prepare(source, *outputs)
    pq.write_table(pa.table({"a": [1]}), source)
    with pytest.raises(UserError, match="does not hold reviews"):
        prepare(source, *outputs)
    assert list(tmp_path.iterdir()) == [source]


def test_a_kill_while_writing_leaves_no_artifact(tmp_path):
    write_parquet(tmp_path / "r", pa.Table.from_pylist(records(), schema=REVIEW_SCHEMA))
    code = (
        "import os, sys; from components.data import prepare as p; "
        "p.write_json = lambda *_: os.kill(os.getpid(), 9); p.prepare('r', 'p', 's')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not {"p", "s"} & {path.name for path in tmp_path.iterdir()}
