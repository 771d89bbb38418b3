"""What the reviews and the answers of a version were like when it was made, for monitoring.

`reference.parquet` in a model folder holds one row for each review, without its id and its text.
Rows of the test split hold the version's answer as well, and whether it was right.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.text_statistics import TEXT_STATISTICS

REFERENCE = "reference.parquet"

MOST_ROWS = 20_000
"""Most rows of a reference; of more reviews as many are drawn."""


def reference_schema(class_names: Sequence[str] = SENTIMENTS.names) -> pa.Schema:
    """One row a review: its split and category, its text in numbers, and for test rows the answer.

    `unknown_share` of a training row is what it would be without that row in the list of known
    words, so that it compares with that of a review that nobody has seen. `n_tokens` counts what
    the model reads; it is null for a model that reads texts. `label`, `p_NAME` of each class and
    `correct` are null but in the test split.
    """
    return pa.schema(
        [
            pa.field("split", pa.string(), nullable=False),
            pa.field("product_category", pa.string()),
            pa.field("n_tokens", pa.int32()),
            *TEXT_STATISTICS,
            pa.field("label", pa.string()),
            *(pa.field(f"p_{name}", pa.float32()) for name in class_names),
            pa.field("correct", pa.bool_()),
        ]
    )


def read_reference(folder: str | Path, class_names: Sequence[str]) -> pa.Table | None:
    """The reference of a model folder; None where it was made before there were references.

    Raises:
        UserError: If the file is not of `reference_schema`.
    """
    path = Path(folder) / REFERENCE
    if not path.is_file():
        return None
    table = read_parquet(path, reference_schema(class_names))
    if not len(table):
        raise UserError(f"{path} holds no row; export the model again")
    return table
