"""Resolved labels: what people agreed on, ready for the feature store and for training."""

import hashlib
from pathlib import Path

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.machine.state import review_folder
from components.shared.records.labels import SENTIMENTS, LabelSet, labels_of_file

WEIGHT_CAP = 5.0
"""Most that a reviewed live review counts in training: rare draws are not to drown the rest."""

WITHDRAWN = "withdrawn"
"""`reason` of a row without votes: people took back what was resolved, or agree on it no more."""


def resolved_labels_schema(labels: LabelSet = SENTIMENTS) -> pa.Schema:
    """One row for each review that people agreed on; a later row of the same review replaces it.

    `item_id` is the id under which people were asked; `review_id` is the same wherever the review
    has one of its own. `sentiment` is the label's value, `label_probability` how sure it is after
    the votes, `agreement` the share of the counted `votes` that gave it. `weight` is what the row
    counts in training. `reason` says how it was resolved: the method, or `withdrawn`, where votes
    is 0: then the sentiment is the one given before, or, where none was, the weight is 0.
    `event_timestamp` is when the label became known.
    """
    text, number = pa.string(), pa.float64()
    fields = [
        pa.field("item_id", text, nullable=False),
        pa.field("review_id", text, nullable=False),
        pa.field("title", text),
        pa.field("review_body", text, nullable=False),
        pa.field("product_category", text),
        pa.field("sentiment", pa.int32(), nullable=False),
        pa.field("label_source", text, nullable=False),
        pa.field("label_probability", number, nullable=False),
        pa.field("votes", pa.int32(), nullable=False),
        pa.field("agreement", number, nullable=False),
        pa.field("weight", number, nullable=False),
        pa.field("queue", text, nullable=False),
        pa.field("inclusion_probability", number, nullable=False),
        pa.field("occurrences", pa.int32(), nullable=False),
        pa.field("model_name", text),
        pa.field("model_version", text),
        pa.field("reason", text, nullable=False),
        pa.field("adjudicated", pa.bool_(), nullable=False),
        pa.field("event_timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
    return labels.on(pa.schema(fields))


KEPT = "kept"
"""Names the resolved labels of the review folder."""


def place_of(resolved: str) -> str:
    """Where resolved labels lie: as named; for `kept` the review folder's, "" if it has none."""
    if resolved != KEPT:
        return resolved
    folder = review_folder() / "resolved"
    return str(folder) if folder.is_dir() else ""


def write_resolved(folder: Path, rows: pa.Table) -> Path | None:
    """Add an immutable file with these rows to a folder, named by what it holds; none if empty."""
    if not rows.num_rows:
        return None
    content = hashlib.sha256()
    for row in rows.to_pylist():
        content.update(repr(sorted(row.items())).encode())
    moment = max(rows["event_timestamp"].to_pylist())
    file = folder / f"{moment:%Y%m%dT%H%M%S%f}-{content.hexdigest()[:12]}.parquet"
    if not file.exists():
        write_parquet(file, rows)
    return file


def read_resolved(place: str | Path) -> pa.Table:
    """The last row of each review, by id, from a file, or from all files of a folder.

    Rows that were withdrawn are among them, with 0 votes. Without any file it is an empty table of
    the default label set.

    Raises:
        UserError: If there is nothing at the place, a file is damaged, or two files do not have
            the same classes.
    """
    place = Path(place)
    if not place.exists():
        raise UserError(f"{place} does not exist; run the review first")
    files = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    last: dict[str, dict[str, object]] = {}
    labels: LabelSet | None = None
    for file in files:
        found = labels_of_file(file)
        if labels not in (None, found):
            raise UserError(
                f"{file} holds labels of other classes ({found}) than the files before it "
                f"({labels}); keep the resolved labels of each label set in a folder of its own"
            )
        labels = found
        rows = read_parquet(file, resolved_labels_schema(labels)).to_pylist()
        for row in rows:
            old = last.get(row["review_id"])
            if old is None or old["event_timestamp"] <= row["event_timestamp"]:
                last[row["review_id"]] = row
    schema = resolved_labels_schema(labels or SENTIMENTS)
    return pa.Table.from_pylist([last[key] for key in sorted(last)], schema=schema)
