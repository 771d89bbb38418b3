"""A made-up log, predictions of a test split, suspects, and a review over them."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.review.gather import Patience, gather_votes
from components.review.options import ReviewOptions
from components.review.resolve import resolve_votes
from components.review.select import Sources, select_items
from components.review.simulated import ServiceInMemory
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.payloads import day_folder, payload_schema
from components.shared.records.review_items import review_items_schema
from components.shared.records.reviews import predictions_schema
from components.shared.records.suspects import suspects_schema

START = datetime(2026, 11, 22, tzinfo=UTC)
KEY = b"a key of the tests"


def chances(rows, labels=SENTIMENTS, seed=0):
    """Probabilities [rows, classes] of a model that is sure of most."""
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(len(labels), 0.3), rows)


def log_rows(rows, labels=SENTIMENTS, seed=0, **changed):
    """Rows of the payload log, one each ten seconds, each with a text of its own."""
    made = []
    for number, row in enumerate(chances(rows, labels, seed)):
        text = f"Review {seed}-{number} of a dress"
        made.append(
            {
                "time": START + timedelta(seconds=10 * number),
                "request_id": f"q{seed}-{number:05d}",
                "position": 0,
                "model_name": "review-sentiment",
                "model_version": "3",
                "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "text": text,
                "label": labels.names[int(row.argmax())],
                "truncated": False,
                "review_id": f"live-{seed}-{number}" if number % 2 else None,
                "product_category": "Dresses",
            }
            | {f"p_{name}": float(p) for name, p in zip(labels.names, row, strict=True)}
            | changed
        )
    return made


def log_table(rows, labels=SENTIMENTS):
    schema = payload_schema(labels.names)
    return pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema=schema)


def write_log(folder, rows, labels=SENTIMENTS, name="a"):
    path = folder / day_folder(rows[0]["time"].date()) / f"{name}.parquet"
    write_parquet(path, log_table(rows, labels))
    return str(folder)


def write_predictions(path, rows=400, labels=SENTIMENTS, seed=1):
    """Predictions of a calibrated model."""
    random = np.random.default_rng(seed)
    made = []
    for number, row in enumerate(chances(rows, labels, seed)):
        truth = labels.values[int(random.choice(len(labels), p=row))]
        best = int(row.argmax())
        made.append(
            {"review_id": f"t{number}", "title": None, "review_body": f"Test {number}"}
            | {"product_category": None, "sentiment": truth, "predicted": labels.values[best]}
            | {"label": labels.names[best]}
            | {f"p_{name}": float(p) for name, p in zip(labels.names, row, strict=True)}
        )
    write_parquet(path, pa.Table.from_pylist(made, schema=predictions_schema(labels)))
    return path


def suspect_rows(rows, labels=SENTIMENTS, split="train"):
    names = labels.names
    return [
        {"rank": number + 1, "review_id": f"s{number}", "title": None, "split": split}
        | {"review_body": f"Suspect {number}, call me Zebulon", "self_confidence": 0.01}
        | {"given": names[0], "suggested": names[-1]}
        | {f"p_{name}": 1 / len(names) for name in names}
        for number in range(rows)
    ]


def write_suspects(path, rows, labels=SENTIMENTS):
    write_parquet(path, pa.Table.from_pylist(rows, schema=suspects_schema(labels)))
    return path


class Review:
    """A review folder with its sources, whose steps are called as the pipeline calls them."""

    def __init__(self, root: Path, labels=SENTIMENTS):
        self.root, self.labels = root, labels
        self.folder = root / "review"
        self.predictions = write_predictions(root / "predictions", labels=labels)
        self.service = ServiceInMemory()
        self.options = ReviewOptions(items=60)

    def select(self, log="", suspects=None, until="2026-11-23T00:00:00+00:00", **given):
        sources = Sources(self.predictions, str(log), suspects, given.pop("since", ""), until)
        made = self.root / "items", self.root / "selection"
        mask = given.pop("mask", lambda text: text.replace("Zebulon", "[name]"))
        summary = select_items(sources, self.folder, *made, self.options, mask)
        return self.items(), summary

    def items(self):
        return read_parquet(self.root / "items", review_items_schema(self.labels)).to_pylist()

    def gather(self, patience=None):
        places = self.root / "items", self.folder, self.root / "gathered"
        return gather_votes(self.service, *places, self.options, KEY, patience or Patience())

    def resolve(self, hour=0):
        now = START + timedelta(days=2, hours=hour)
        made = self.root / "resolved", self.root / "votes"
        items = self.root / "items"
        summary = resolve_votes(items, self.folder, *made, self.options, now)
        from components.shared.records.resolved_labels import read_resolved

        return read_resolved(made[0]).to_pylist(), summary


@pytest.fixture
def review(tmp_path):
    return Review(tmp_path)
