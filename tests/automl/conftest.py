"""A small problem, whose classes show in their words, and what the steps before wrote of it."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from components.automl.task import read_task
from components.shared.machine.files import write_parquet
from components.shared.records.reviews import PREPARED_SCHEMA
from tests.pipelines.made_up_model import made_up_reviews

FACTS = {"data_fingerprint": "data-1", "feature_service": "reviews_v1"}


def write_prepared(path, labels=None, texts=None, **changed):
    """Prepared reviews: 240 of training, 60 of validation, 20 of test."""
    reviews = made_up_reviews(320, seed=1) if texts is None else texts
    rows = []
    for number, (text, sentiment) in enumerate(reviews):
        split = "train" if number < 240 else "validation" if number < 300 else "test"
        row = dict.fromkeys(PREPARED_SCHEMA.names) | {"review_id": f"r{number:04d}", "weight": 1.0}
        row |= {"review_body": text, "sentiment": sentiment, "split": split, "copies": 1}
        rows.append(
            row
            | {
                "label_source": "rating",
                "label_probability": 1.0,
                "event_timestamp": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
            }
            | changed
        )
    schema = PREPARED_SCHEMA if labels is None else labels.on(PREPARED_SCHEMA)
    write_parquet(path, pa.Table.from_pylist(rows, schema=schema))
    return path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("automl") / "prepared.parquet")


@pytest.fixture
def task(prepared):
    return read_task(prepared, "", "minilm", FACTS)


def accuracy(logits, classes):
    return float((np.argmax(logits, axis=1) == classes).mean())
