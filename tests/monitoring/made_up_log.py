"""Model folders with a reference, and payload logs, from columns."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.monitoring.window import ServedModel
from components.shared.records.labels import SENTIMENTS
from components.shared.records.payloads import day_folder, payload_schema
from components.shared.records.reference import REFERENCE, reference_schema

SINCE = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
UNTIL = SINCE + timedelta(days=14)
NAMES = SENTIMENTS.names


def served_model(folder, reference, version="3", names=NAMES):
    """A model folder with nothing but class names and a reference, which is all that is read."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    labels = {str(index): name for index, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps({"id2label": labels}))
    schema = reference_schema(names)
    pq.write_table(filled(reference, schema), folder / REFERENCE)
    return ServedModel(folder, "reviews", version)


def write_log(folder, columns, *, names=NAMES, since=SINCE, until=UNTIL, **same):
    """Write answers spread evenly over a span of time, a file a day; returns the folder.

    What is not among the columns is made up or null.
    """
    rows = len(next(iter(columns.values())))
    microseconds = np.linspace(0, (until - since) / timedelta(microseconds=1) - 1, rows)
    times = [since + timedelta(microseconds=float(one)) for one in microseconds]
    ids = [f"r{place}" for place in range(rows)]
    digests = [digest_of(f"{folder}{place}") for place in range(rows)]
    made = {
        **{"time": times, "request_id": ids, "position": [0] * rows, "text_sha256": digests},
        **{"model_name": ["reviews"] * rows, "model_version": ["3"] * rows},
        **{"label": [names[-1]] * rows, "truncated": [False] * rows},
        **{f"p_{name}": [1 / len(names)] * rows for name in names},
    }
    same = {name: [value] * rows for name, value in same.items()}
    table = filled(made | columns | same, payload_schema(names))
    days = np.array([time.date() for time in times])
    for day in sorted(set(days)):
        path = Path(folder) / day_folder(day)
        path.mkdir(parents=True, exist_ok=True)
        name = f"{len(list(path.iterdir()))}.parquet"
        pq.write_table(table.filter(pa.array(days == day)), path / name)
    return str(folder)


def digest_of(text):
    """The digest by which the log knows a text."""
    return hashlib.sha256(str(text).encode()).hexdigest()


def filled(columns, schema):
    """A table of the schema; columns that are not there are null."""
    columns = (
        dict(zip(columns.schema.names, columns.columns, strict=True))
        if isinstance(columns, pa.Table)
        else dict(columns)
    )
    rows = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(rows, field.type))
        elif isinstance(values, pa.Array | pa.ChunkedArray):
            arrays.append(values.cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=schema)
