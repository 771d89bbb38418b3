"""Batch scoring's records: the reviews that are to be scored, and what the model says of them."""

import pyarrow as pa

SHARD_REVIEWS = 2048
"""Reviews of a row group of what is read, and so of a shard: some seconds of work for a core."""

TO_SCORE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("review_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("review_body", pa.string(), nullable=False),
        pa.field("product_category", pa.string()),
    ]
)
"""One row for each review that can be scored, in the order of the sources, copies included.

`source` and `line` say where it stood: the file, and the line where it begins (in Parquet, the
number of the row, from 1). Together they are unique; a `review_id` need not be."""


def scored_schema(names: tuple[str, ...]) -> pa.Schema:
    """What scoring writes for each of those rows, for classes of these names.

    Where it stood, its id, the decision, the calibrated probability of each class `p_NAME`, whether
    the text was cut, and which model said so.
    """
    text, chance = pa.string(), pa.float64()
    fields = [
        *((name, TO_SCORE_SCHEMA.field(name).type) for name in ("source", "line", "review_id")),
        ("label", text),
        *((f"p_{name}", chance) for name in names),
        ("truncated", pa.bool_()),
        *((name, text) for name in ("model_name", "model_version", "model_digest")),
    ]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])
