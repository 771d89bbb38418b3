import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from kfp.dsl import HTML, Dataset, Metrics

from components.labelling.component import find_label_noise as step
from components.labelling.noise import DROP, find_label_noise
from components.shared.machine.files import read_json
from components.shared.records.labels import LabelSet
from components.shared.records.suspects import suspects_schema
from tests.labelling.conftest import prepared_rows


@pytest.fixture
def search(write, tmp_path):
    def found(rows, **options):
        out = tmp_path / "suspects", tmp_path / "noise.json"
        summary = find_label_noise(write(rows, **options), *out)
        return summary, pq.ParquetFile(out[0]).read().to_pylist()

    return found


def with_errors(rows, share=0.05, seed=0):
    """The rows, some of them under another label, and the ids of those."""
    random = np.random.default_rng(seed)
    wrong = random.random(len(rows)) < share
    changed = [
        row | {"sentiment": (row["sentiment"] + 1 + int(random.integers(1, 3))) % 3 - 1}
        if is_wrong
        else row
        for row, is_wrong in zip(rows, wrong, strict=True)
    ]
    return changed, {r["review_id"] for r, w in zip(rows, wrong, strict=True) if w}


def test_planted_errors_come_first_with_the_label_that_they_had(search):
    true = {row["review_id"]: row["sentiment"] for row in prepared_rows(2_000)}
    rows, planted = with_errors(prepared_rows(2_000))
    summary, suspects = search(rows)
    top = suspects[:50]
    assert np.mean([row["review_id"] in planted for row in top]) >= 0.95
    names = {-1: "negative", 0: "neutral", 1: "positive"}
    right = [row["suggested"] == names[true[row["review_id"]]] for row in top]
    assert np.mean(right) >= 0.9
    looked_at = {row["review_id"] for row in rows if row["split"] != "test"}
    there = planted & looked_at
    assert len(there & {row["review_id"] for row in suspects}) > 0.7 * len(there)
    assert summary.rows == len(looked_at)
    assert summary.suspects == len(suspects) == sum(pair["suspects"] for pair in summary.pairs)
    # Errors stand in the way of the model that is trained on them.
    by_name = {one["name"]: one for one in summary.experiment}
    assert by_name[DROP]["rows"] == 1_600 - summary.suspects_of_training


def test_suspects_are_ranked_by_how_improbable_their_label_is(search, tmp_path):
    rows, _ = with_errors(prepared_rows(600))
    _, suspects = search(rows)
    assert pq.read_schema(tmp_path / "suspects").equals(suspects_schema())
    confidence = [row["self_confidence"] for row in suspects]
    assert confidence == sorted(confidence)
    assert [row["rank"] for row in suspects] == list(range(1, len(suspects) + 1))
    for row in suspects:
        chances = {name: row[f"p_{name}"] for name in ("negative", "neutral", "positive")}
        assert sum(chances.values()) == pytest.approx(1)
        assert row["suggested"] == max(chances, key=chances.get) != row["given"]
        assert row["self_confidence"] == chances[row["given"]]


def test_neither_test_rows_nor_weak_labels_are_looked_at(search):
    rows, _ = with_errors(prepared_rows(600))
    before = search(rows)
    for row in rows:
        if row["split"] == "test":
            row |= {"sentiment": -row["sentiment"], "review_body": "something else"}
    weak = [
        row | {"review_id": f"weak-{row['review_id']}", "label_source": "weak", "split": "train"}
        for row in rows[:100]
    ]
    assert search(rows + weak) == before
    assert {row["split"] for row in before[1]} == {"train", "validation"}


def test_validation_has_no_say_in_what_is_suspected_in_training(search):
    rows, _ = with_errors(prepared_rows(600), 0.1)
    other = [
        row | {"sentiment": (row["sentiment"] + 2) % 3 - 1} if row["split"] == "validation" else row
        for row in rows
    ]

    def of_training(found):
        return [row["review_id"] for row in found[1] if row["split"] == "train"]

    assert of_training(search(rows)) == of_training(search(other))


def test_other_classes_have_their_own_columns(search, tmp_path):
    labels = LabelSet.parse("bad=1,2 good=4,5")
    rows = [
        row | {"sentiment": int(row["sentiment"] > 0)}
        for row in prepared_rows(400)
        if row["sentiment"]
    ]
    rows[3]["sentiment"] = 1 - rows[3]["sentiment"]
    _, suspects = search(rows, labels=labels)
    assert pq.read_schema(tmp_path / "suspects").equals(suspects_schema(labels))
    assert suspects[0]["review_id"] == rows[3]["review_id"]
    assert {suspects[0]["given"], suspects[0]["suggested"]} == {"bad", "good"}


def german(rows):
    words = {"love": "liebe", "awful": "schrecklich", "okay": "geht", "dress": "Kleid"}
    return [
        row | {"review_body": " ".join(words.get(w, w + "ß") for w in row["review_body"].split())}
        for row in rows
    ]


def test_reviews_in_another_language_are_searched_too(search):
    rows, planted = with_errors(german(prepared_rows(1_000)))
    _, suspects = search(rows)
    assert np.mean([row["review_id"] in planted for row in suspects[:20]]) >= 0.9


def two_of_each(_):
    rows = prepared_rows(60)
    return [r for s in (-1, 0, 1) for r in [r for r in rows if r["sentiment"] == s][:2]]


@pytest.mark.parametrize(
    ("few", "words"),
    [
        (lambda rows: rows[:0], "0 negative reviews"),
        (lambda rows: [rows[2]], "reviews with different texts, and 5 of each"),
        (two_of_each, "reviews with different texts, and 5 of each class"),
        (lambda rows: [r for r in rows if r["sentiment"]], "0 neutral reviews"),
        (lambda rows: [r for r in rows if r["split"] == "train"], "validation part is empty"),
        (
            lambda rows: [r | {"review_body": f"字{n}"} for n, r in enumerate(rows)],
            "no two reviews have a word in common",
        ),
        (
            lambda rows: [r | {"review_body": "the same"} for r in rows],
            "1 negative reviews with different texts",
        ),
    ],
)
def test_too_few_reviews_are_told_and_leave_an_empty_table(few, words, search, tmp_path):
    summary, suspects = search(few(prepared_rows(200)))
    assert suspects == []
    assert words in summary.reason
    assert summary.reason in summary.verdict
    assert read_json(tmp_path / "noise.json")["suspects"] == 0


def test_the_step_hands_over_table_summary_page_and_metrics(write, tmp_path):
    rows, _ = with_errors(prepared_rows(400))
    kinds = {"suspects": Dataset, "label_noise_page": HTML}
    names = ("suspects", "label_noise_summary", "label_noise_page", "metrics")
    made = {name: kinds.get(name, Metrics)(uri=str(tmp_path / name)) for name in names}
    step.python_func(prepared=Dataset(uri=str(write(rows))), **made)
    summary = json.loads((tmp_path / "label_noise_summary").read_text())
    metrics = made["metrics"].metadata
    assert metrics["suspects"] == summary["suspects"] > 0
    assert metrics["macro_f1_drop"] == summary["experiment"][1]["difference"]["value"]
    assert summary["verdict"] in (tmp_path / "label_noise_page").read_text()
