"""What every candidate is given: texts with their classes, and what a model folder records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.model_logits import texts_of
from components.shared.records.reviews import PREPARED_SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Labelled texts."""

    texts: Sequence[str]  # as models read them
    classes: NDArray[np.int64]  # class index of each
    reviews: "pa.Table"  # `title` and `review_body` of the same rows

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)

    @classmethod
    def of(cls, reviews: "pa.Table", labels: LabelSet) -> "Rows":
        """The rows of a table that `prepare_reviews` wrote."""
        classes = labels.index_of(reviews["sentiment"].to_numpy())
        return cls(texts_of(reviews), classes, reviews.select(["title", "review_body"]))


@dataclass(frozen=True)
class Task:
    """A text classification problem.

    Attributes:
        training: Rows to learn from; a row that balancing copies is there as often.
        validation: Rows to choose by. The test split is not among them: evaluation reads it, once.
        labels: The classes.
        base_model: The encoder of the candidates that have one: `minilm`, a folder or a hub id.
        training_set: Parquet of `TRAINING_SET_SCHEMA`: tokens of the same reviews.
        facts: What a model folder records of data and code, `max_tokens` among it.
        kept: What the trials of a candidate share, such as a matrix that costs more than a fit.
    """

    training: Rows
    validation: Rows
    labels: LabelSet
    base_model: str = ""
    training_set: Path = Path()
    facts: Mapping[str, Any] = field(default_factory=dict)
    kept: dict[Any, Any] = field(default_factory=dict)

    @property
    def class_prior(self) -> list[float]:
        """Share of each class among the training rows."""
        counts = np.bincount(self.training.classes, minlength=len(self.labels))
        return (counts / counts.sum()).tolist()  # type: ignore[no-any-return]

    def first(self, rows: int) -> "Task":
        """The same problem with fewer training rows, evenly spread; it keeps nothing."""
        chosen = np.linspace(0, len(self.training) - 1, min(rows, len(self.training))).astype(int)
        one_each = [np.flatnonzero(self.training.classes == c)[:1] for c in range(len(self.labels))]
        chosen = np.unique(np.concatenate([chosen, *one_each]))
        training = Rows(
            [self.training.texts[row] for row in chosen],
            self.training.classes[chosen],
            self.training.reviews.take(chosen),
        )
        rest = (self.labels, self.base_model, self.training_set, self.facts)
        return Task(training, self.validation, *rest)


def read_task(
    prepared: str | Path,
    training_set: str | Path,
    base_model: str,
    facts: Mapping[str, Any],
) -> Task:
    """The problem that a table of prepared reviews poses.

    Raises:
        UserError: If a split has no rows, or all training rows are of one class.
    """
    labels = labels_of_file(prepared)
    table = read_parquet(prepared, PREPARED_SCHEMA)
    split = np.asarray(table["split"].to_pylist())
    copies = table["copies"].to_numpy()
    rows = np.repeat(np.arange(table.num_rows), np.where(split == "train", copies, 0))
    training = Rows.of(table.take(rows), labels)
    validation = Rows.of(table.take(np.flatnonzero(split == "validation")), labels)
    for name, part in (("train", training), ("validation", validation)):
        if not len(part):
            raise UserError(f"{prepared} has no {name} rows; give more reviews")
    if len(np.unique(training.classes)) < 2:
        only = labels.names[training.classes[0]]
        raise UserError(f"all training rows of {prepared} are {only}; give reviews of two classes")
    return Task(training, validation, labels, base_model, Path(training_set), facts)
