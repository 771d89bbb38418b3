"""What is looked at: one version's answers in a span of time, and what it was made from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.records.model_folder import read_class_names
from components.shared.records.payloads import read_payloads
from components.shared.records.reference import read_reference
from components.shared.records.text_statistics import TEXT_STATISTICS

TESTED = "test"
"""The split whose rows hold the version's answers."""

_STATISTICS = [field.name for field in TEXT_STATISTICS]
_COLUMNS = ["time", "model_name", "model_version", "text_sha256", "text", "label", "p_*"]


@dataclass(frozen=True)
class ServedModel:
    """A registered version: its model folder, and the name and number that the log knows it by."""

    folder: Path
    name: str
    version: str


@dataclass(frozen=True)
class Window:
    """A version's answers from `since` until before `until`.

    `answers` holds the log's columns and `confidence`, the calibrated probability of the answered
    class. `versions` counts the rows of every version, the version's own by its number; `notes`
    says what could not be read.
    """

    since: datetime
    until: datetime
    answers: pa.Table
    versions: dict[str, int]
    notes: list[str]

    @property
    def different(self) -> pa.Table:
        """The first answer to each text: a text that is asked again tells nothing new."""
        digests = self.answers["text_sha256"].to_pylist()
        first = list(
            {digest: place for place, digest in reversed(list(enumerate(digests)))}.values()
        )
        return self.answers.take(pa.array(sorted(first), pa.int64()))


def read_window(log_uri: str, model: ServedModel, since: datetime, until: datetime) -> Window:
    """Read the window from the payload log; rows of other versions are counted and left out.

    Raises:
        UserError: If there is no log at the URI, the times are the wrong way round, or the model
            folder does not name its classes.
    """
    if since >= until:
        raise UserError(f"the window ends at {until:%Y-%m-%d %H:%M}, before it begins; swap them")
    class_names = read_class_names(model.folder)
    columns = [*_COLUMNS, "review_id", "product_category", *_STATISTICS]
    notes: list[str] = []
    rows = read_payloads(
        log_uri,
        since=since,
        until=until,
        columns=columns,
        skipped=notes,
        class_names=class_names,
    )
    names, versions = rows["model_name"], rows["model_version"]
    own = pc.and_(pc.equal(names, model.name), pc.equal(versions, model.version))
    by_version = [
        version if name == model.name else f"{name} {version}"
        for name, version in zip(names.to_pylist(), versions.to_pylist(), strict=True)
    ]
    answers = rows.filter(own)
    confidence = confidence_of(answers, class_names)
    usable = np.isfinite(confidence) & (confidence >= 0) & (confidence <= 1)
    if not usable.all():
        notes.append(
            f"{int((~usable).sum())} answers have no probability between 0 and 1 for their label, "
            "and are left out"
        )
    answers = answers.append_column("confidence", pa.array(confidence)).filter(pa.array(usable))
    return Window(since, until, answers, dict(Counter(by_version).most_common()), notes)


def read_expected(model: ServedModel) -> pa.Table:
    """The reference of the version, with `confidence` where it holds the version's answer.

    Raises:
        UserError: If the model folder was made before there were references.
    """
    class_names = read_class_names(model.folder)
    reference = read_reference(model.folder, class_names)
    if reference is None:
        raise UserError(
            f"version {model.version} of {model.name} has no reference to compare with: it was "
            "exported before models had one; train it again"
        )
    confidence = confidence_of(reference, class_names)
    missing = ~np.isfinite(confidence)
    return reference.append_column("confidence", pa.array(confidence, mask=missing))


def confidence_of(answers: pa.Table, class_names: Sequence[str]) -> NDArray[np.float64]:
    """Probability of the answered class [n]; NaN where there is none."""
    labels = pc.index_in(answers["label"], pa.array(list(class_names), pa.string()))
    places = labels.fill_null(-1).to_numpy()
    chances = np.stack(
        [
            pc.fill_null(answers[f"p_{name}"].cast(pa.float64()), np.nan).to_numpy()
            for name in class_names
        ],
        axis=1,
    )
    found = chances[np.arange(len(places)), np.maximum(places, 0)]
    return np.where(places < 0, np.nan, found)
