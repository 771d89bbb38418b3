"""Suspected label noise: the reviews whose label a person should look at again, worst first."""

import pyarrow as pa

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
