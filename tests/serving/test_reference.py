from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.serving.reference import add_reference
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.known_words import read_known_words
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.reference import read_reference
from components.shared.records.reviews import (
    PREPARED_SCHEMA,
    TRAINING_SET_SCHEMA,
    predictions_schema,
)
from tests.conftest import RATED

TEXTS = {
    **{f"a{number}": ("train", "soft dress") for number in range(4)},
    "b": ("train", "soft Dress rare"),
    "c": ("validation", "soft rare"),
    "d": ("test", "soft dress"),
    "e": ("test", "soft Dress"),
}


@pytest.fixture
def inputs(tmp_path):
    """Prepared reviews, predictions and a training set, as files."""
    about = RATED | {"event_timestamp": datetime(2026, 11, 21, tzinfo=UTC), "copies": 1}
    rows = [
        {**dict.fromkeys(PREPARED_SCHEMA.names), **about, "review_id": key, "sentiment": 1}
        | {"title": None, "review_body": text, "split": split, "product_category": "Knits"}
        for key, (split, text) in TEXTS.items()
    ]
    rows[0]["product_category"] = None
    write_parquet(tmp_path / "prepared", pa.Table.from_pylist(rows, schema=PREPARED_SCHEMA))
    test = [row for row in rows if row["split"] == "test"]
    chances = {"p_negative": 0.2, "p_neutral": 0.1, "p_positive": 0.7}
    for row, predicted, label in zip(test, (1, -1), ("positive", "negative"), strict=True):
        row |= {"predicted": predicted, "label": label, **chances}
    answers = pa.Table.from_pylist(test, schema=predictions_schema())
    write_parquet(tmp_path / "predictions", answers)
    tokens = [row | {"input_ids": [2, 3, 4], "n_tokens": 3} for row in rows]
    table = pa.Table.from_pylist(tokens, schema=TRAINING_SET_SCHEMA)
    write_parquet(tmp_path / "training_set", table)
    return [tmp_path / name for name in ("prepared", "predictions", "training_set")]


@pytest.fixture
def folder(tmp_path):
    """As much of a model folder as is read."""
    config = {"id2label": dict(enumerate(SENTIMENTS.names))}
    write_json(tmp_path / "model" / "config.json", config)
    return tmp_path / "model"


def test_words_are_those_of_training_and_its_rows_are_left_out_of_their_own_share(folder, inputs):
    assert add_reference(folder, *inputs) == len(TEXTS)
    assert read_known_words(folder) == {"soft"}  # Five in training; "dress" four in lower case.
    rows = read_reference(folder, SENTIMENTS.names).to_pylist()
    found = {}
    for row in rows:
        found.setdefault((row["split"], row["n_words"]), []).append(round(row["unknown_share"], 3))
    # Without a training row itself, only four hold "soft".
    assert found == {
        ("train", 2): [1.0] * 4,
        ("train", 3): [1.0],
        ("validation", 2): [0.5],
        ("test", 2): [0.5] * 2,
    }


def test_a_row_holds_no_id_and_no_text_and_test_rows_the_answer(folder, inputs):
    add_reference(folder, *inputs)
    table = read_reference(folder, SENTIMENTS.names)
    assert not {"review_id", "title", "review_body"} & set(table.column_names)
    rows = table.to_pylist()
    test = [row for row in rows if row["split"] == "test"]
    assert sorted((row["label"], row["correct"]) for row in test) == [
        *(("negative", False), ("positive", True))
    ]
    assert {(round(row["p_positive"], 3), row["n_tokens"]) for row in test} == {(0.7, 3)}
    others = [row for row in rows if row["split"] != "test"]
    assert {(row["label"], row["p_negative"], row["correct"]) for row in others} == {(None,) * 3}
    assert [row["product_category"] for row in rows].count(None) == 1


def test_as_many_rows_are_drawn_as_asked_and_the_same_ones_again(folder, inputs):
    assert add_reference(folder, *inputs, most_rows=3) == 3
    first = read_reference(folder, SENTIMENTS.names)
    assert first["split"].to_pylist().count("test") == 1
    assert read_known_words(folder) == {"soft"}  # Of all reviews, also of those not drawn.
    add_reference(folder, *inputs, most_rows=3)
    assert read_reference(folder, SENTIMENTS.names) == first


def test_a_model_that_reads_texts_has_no_tokens(folder, inputs):
    config = {"id2label": dict(enumerate(SENTIMENTS.names)), "model_type": "sparse"}
    write_json(folder / "config.json", config)
    add_reference(folder, *inputs)
    assert read_reference(folder, SENTIMENTS.names)["n_tokens"].null_count == len(TEXTS)


def test_predictions_of_other_reviews_or_classes_are_refused(folder, inputs):
    prepared, predictions, training_set = inputs
    whole = pq.read_table(predictions)
    write_parquet(predictions, whole.slice(1))
    with pytest.raises(UserError, match="holds no answer for review d"):
        add_reference(folder, prepared, predictions, training_set)
    labels = LabelSet.parse("bad good")
    other = predictions_schema(labels).empty_table()
    write_parquet(predictions, other)
    with pytest.raises(UserError, match="of the classes bad, good, and the model of negative"):
        add_reference(folder, prepared, predictions, training_set)
