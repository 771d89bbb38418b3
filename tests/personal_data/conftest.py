"""A small world that holds a review everywhere, and a search that leaves no byte out."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.catalogue import describe_again, register
from components.personal_data import databases
from components.personal_data.forget import Stores
from components.personal_data.wanted import Wanted
from components.serving.observing.payload_log import PayloadLog
from components.serving.observing.payload_rows import Asked, PayloadRows
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.masking import Masker
from components.shared.records.reviews import (
    PREPARED_SCHEMA,
    REVIEW_SCHEMA,
    TRAINING_SET_SCHEMA,
    splits_digest,
)
from components.shared.records.text import model_text
from tests.conftest import RATED

CANARY = "xylocanary"
IDS = ["aaaaaaaa-0001", CANARY + "-id", "cccccccc-0003"]
TEXTS = [
    "a soft dress that fits me very well indeed and that i would buy again at once",
    f"AAA {CANARY} is what nobody else ever wrote about a dress that fits so very well in summer",
    "a dress of the third person who has nothing at all to do with the one before",
]


def reviews(schema=REVIEW_SCHEMA, **columns):
    about = RATED | {"event_timestamp": datetime(2026, 11, 21, tzinfo=UTC), "copies": 1}
    about |= {"sentiment": 1, "rating": 5, "title": None, "split": "train", "n_tokens": 2}
    about |= {"input_ids": [2, 3]} | columns
    rows = [
        {**dict.fromkeys(schema.names), **about, "review_id": one, "review_body": text}
        for one, text in zip(IDS, TEXTS, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def log_answers(folder, texts, ids, **changes):
    log = PayloadLog(str(folder), PayloadRows("m", "1", masker=Masker(None)), **changes)
    for text, key in zip(texts, ids, strict=True):
        chances = np.array([[0.1, 0.2, 0.7]])
        log.record("a", [Asked(text, key)], np.array([2]), chances, np.array([False]))
    log.close()


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Folders of state and runs in which the second review is in every kind of store."""
    state, run = tmp_path / "state", tmp_path / "runs" / "one"
    # Feast's own form costs its import; `test_online_store` tries it.
    monkeypatch.setattr(databases, "entity_keys", plain_keys)
    monkeypatch.setenv("LOCAL_STATE", str(state))
    monkeypatch.setenv("CATALOGUE_WAREHOUSE", str(state / "warehouse"))
    monkeypatch.setenv("CATALOGUE_URI", f"sqlite:///{state / 'warehouse' / 'catalogue.db'}")
    (state / "warehouse").mkdir(parents=True)

    write_parquet(run / "ingest" / "reviews", reviews())
    register(run / "ingest" / "reviews", "f1", "a.csv")
    write_parquet(run / "prepare" / "prepared", reviews(PREPARED_SCHEMA))
    training_set = run / "retrieve" / "training_set"
    write_parquet(training_set, reviews(TRAINING_SET_SCHEMA))
    write_json(
        state / "mlflow" / "model" / "training.json", {"splits": splits_digest(training_set)}
    )
    view = state / "feature_store" / "data" / "review_text"
    write_parquet(view / "0.parquet", reviews().select(["review_id", "title", "review_body"]))
    _online(state / "feature_store" / "online.db")

    log_answers(state / "payloads", TEXTS, IDS)
    log_answers(state / "payloads", [model_text(None, TEXTS[1])], [""])  # Only its text is known.
    vote = {"item_id": [IDS[1], IDS[2]], "label": ["positive", "negative"]}
    write_parquet(state / "review" / "votes" / "1.parquet", pa.table(vote))
    record = f'{{"Review Text": "{TEXTS[1]}"}}'
    quarantine = {"source": ["a.csv"] * 2, "record": [record, "another"]}
    write_parquet(run / "ingest" / "quarantine", pa.table(quarantine))

    mistakes = [
        {"review_id": one, "review_body": text} for one, text in zip(IDS, TEXTS, strict=True)
    ]
    words = [{"word": word, "attribution": 0.1} for word in TEXTS[1].split()]
    summary = {"rows": 3, "mistakes": mistakes, "explained": [{"words": words}, {"words": []}]}
    write_json(run / "evaluate" / "summary", summary)
    page = "".join(f"<span>{word}</span> " for word in TEXTS[1].split())
    (run / "report.html").write_text(f"<!doctype html><p>{page}</p>")
    (run / "other.html").write_text(f"<!doctype html><p>{TEXTS[2]}</p>")
    (run / "log.txt").write_text(f"begun\nreview {IDS[1]} is odd\nread {TEXTS[1]}\nended\n")
    return Stores(state, [state, tmp_path / "runs"], afterwards=(describe_again,))


def plain_keys(wanted):
    return [one.encode() for one in sorted(wanted.ids)]


def _online(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "CREATE TABLE p_review_text (entity_key BLOB, feature_name TEXT, value BLOB)"
        )
        for one, text in zip(IDS, TEXTS, strict=True):
            (key,) = plain_keys(Wanted(frozenset([one])))
            connection.execute(
                "INSERT INTO p_review_text VALUES (?, 'body', ?)", (key, text.encode())
            )
        connection.commit()


def found_in(folders):
    """Files in which a search for the canary finds something: bytes, columns, Avro records."""
    from pyiceberg.avro.file import AvroFile
    from pyiceberg.io.pyarrow import PyArrowFileIO

    found = []
    for path in (path for folder in folders for path in Path(folder).rglob("*") if path.is_file()):
        content = path.read_bytes()
        seen = content
        if content.startswith(b"PAR1"):
            seen += json.dumps(pq.ParquetFile(path).read().to_pylist(), default=str).encode()
        if path.suffix == ".avro":
            with AvroFile(PyArrowFileIO().new_input(str(path))) as records:
                seen += repr(list(records)).encode()
        if CANARY.encode() in seen.lower():
            found.append(path)
    return found
