"""Suspected label noise: the reviews whose label a person should look at again, worst first."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.machine.files import write_parquet
from components.shared.machine.state import has_state, review_folder
from components.shared.records.labels import SENTIMENTS, LabelSet


def suspects_schema(labels: LabelSet = SENTIMENTS) -> pa.Schema:
    """What the search for label noise writes and review reads, one row per suspect, by `rank`.

    The text, its split, the `given` label and the `suggested` one by class name, the probability of
    the given label (`self_confidence`) and of each class (`p_NAME`), by a model that had not seen
    the row.
    """
    texts = ("review_id", "review_body", "split", "given", "suggested")
    numbers = ("self_confidence", *(f"p_{name}" for name in labels.names))
    fields = [
        pa.field("rank", pa.int32(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in texts),
        pa.field("title", pa.string()),
        *(pa.field(name, pa.float64(), nullable=False) for name in numbers),
    ]
    return labels.on(pa.schema(fields))


def keep_suspects(written: str | Path) -> None:
    """Leave a copy of the suspects in the review folder, for the next review to ask about.

    Only where the environment names a state folder: a step that is tried alone leaves nothing.
    """
    if has_state():
        write_parquet(_place(), pq.read_table(written))


def kept_suspects() -> Path | None:
    """What the last search for label noise left; None where there was none."""
    return _place() if _place().exists() else None


def _place() -> Path:
    return review_folder() / "suspects.parquet"
