"""Which models learned from a review: their weights cannot be purged, only replaced."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.personal_data.walk import files_below
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, read_parquet, write_json
from components.shared.records.model_folder import TRAINING
from components.shared.records.reviews import TRAINING_SET_SCHEMA, splits_digest

_LEARNED_FROM = ("train", "validation")
_COLUMNS = ["review_id", "split"]


@dataclass(frozen=True)
class TrainingSet:
    """A training set that holds the review."""

    digest: str  # `splits_digest`, as the models know it.
    was_learned: bool  # Whether the review is in a split that training reads.


def training_sets_with(review_id: str, roots: Sequence[Path]) -> dict[Path, TrainingSet]:
    """The training sets that hold the review."""
    found = {}
    for path in files_below(roots):
        if splits := _splits_with(path, review_id):
            learned = bool(splits.intersection(_LEARNED_FROM))
            found[path] = TrainingSet(splits_digest(path), learned)
    return found


def models_of(sets: Iterable[TrainingSet], roots: Sequence[Path], state: Path) -> list[str]:
    """Model folders that were made from the training sets in which training read the review.

    A training set that lost a row has another digest than its models know: `remember` says which.
    """
    file = _file(state)
    before: Mapping[str, list[str]] = read_json(file) if file.is_file() else {}
    known: set[str] = set()
    open_ = [one.digest for one in sets if one.was_learned]
    while open_:
        digest = open_.pop()
        if digest not in known:
            known.add(digest)
            open_ += before.get(digest, [])
    found = []
    for path in files_below(roots):
        if path.name == TRAINING and known:
            try:
                facts = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                continue
            if isinstance(facts, dict) and facts.get("splits") in known:
                found.append(str(path.parent))
    return sorted(found)


def remember(changed: Mapping[Path, TrainingSet], state: Path) -> None:
    """Note the digests that training sets had before a row was taken out of them."""
    file = _file(state)
    before: dict[str, list[str]] = read_json(file) if file.is_file() else {}
    for path, one in changed.items():
        if path.is_file() and (now := splits_digest(path)) != one.digest:
            before[now] = sorted({*before.get(now, []), one.digest})
    if before:
        write_json(file, before)


def _file(state: Path) -> Path:
    return state / "personal_data" / "training_sets.json"


def _splits_with(path: Path, review_id: str) -> set[str]:
    """The splits in which a training set holds the review; none if it is no training set."""
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"PAR1":
                return set()
        if not {"input_ids", *_COLUMNS} <= set(pq.read_schema(path).names):
            return set()
        rows = read_parquet(path, TRAINING_SET_SCHEMA, _COLUMNS)
    except (OSError, UserError):
        return set()
    pairs = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    return {split for one, split in pairs if one == review_id}
