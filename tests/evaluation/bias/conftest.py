"""Rows of one facet, and the files that hold them."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.bias.kinds import Kinds
from components.shared.machine.files import write_parquet
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.reviews import PREPARED_SCHEMA, predictions_schema
from tests.conftest import RATED


def kinds_of(group, truth, predicted=None, stratum=None, weight=None, classes=3) -> Kinds:
    """Rows by their group and class indices; the outcome is the prediction, if there is one."""
    zeros, ones = np.zeros(len(group), int), np.ones(len(group), int)
    stratum, weight = (zeros if stratum is None else stratum, ones if weight is None else weight)
    outcome = truth if predicted is None else predicted
    columns = np.stack([np.asarray(c) for c in (group, stratum, outcome, truth, weight)], axis=1)
    unique, rows = np.unique(columns, axis=0, return_counts=True)
    known = None if predicted is None else unique[:, 3]
    sizes = int(np.max(group)) + 1, int(np.max(stratum)) + 1, classes
    return Kinds(*sizes, *unique[:, :3].T, known, unique[:, 4], rows)


def kinds_from_counts(counts) -> Kinds:
    """Rows from a table of counts [groups, classes]."""
    group, outcome = np.nonzero(counts)
    zeros, sizes = np.zeros(len(group), int), np.shape(counts)
    rows = np.asarray(counts)[group, outcome]
    return Kinds(sizes[0], 1, sizes[1], group, zeros, outcome, None, zeros + 1, rows)


def values_of(kinds: Kinds) -> dict:
    """Every metric of the rows as they are."""
    return kinds.measured(kinds.rows * kinds.weight.astype(float))


@pytest.fixture
def write_reviews(tmp_path):
    """Write prepared reviews and, for their test rows, predictions: (prepared, predictions)."""

    def write(rows: list[dict], labels: LabelSet = SENTIMENTS):
        when = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
        prepared, predicted = [], []
        for number, row in enumerate(rows):
            row = {"review_id": f"r{number}", "split": "test", "copies": 1, **RATED, **row}
            row = {"review_body": "lovely", "event_timestamp": when} | row
            prepared.append({name: row.get(name) for name in PREPARED_SCHEMA.names})
            if row["split"] == "test":
                guess = row.get("predicted", row["sentiment"])
                chances = {f"p_{name}": 1 / len(labels) for name in labels.names}
                predicted.append(
                    {"review_id": row["review_id"], "review_body": "lovely", **chances}
                    | {"sentiment": row["sentiment"], "predicted": guess, "label": "?"}
                )
        paths = tmp_path / "prepared", tmp_path / "predictions"
        schemas = labels.on(PREPARED_SCHEMA), predictions_schema(labels)
        for path, table, schema in zip(paths, (prepared, predicted), schemas, strict=True):
            write_parquet(path, pa.Table.from_pylist(table, schema=schema))
        return paths

    return write
