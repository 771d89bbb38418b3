"""Reviews that people labelled, for the training part: which of them may be learned from.

What validation and test hold must stay unseen and as it is. A reviewed text that equals one of
theirs is not trained on, and what people say of a test review, other than its label, is kept as a
dispute: the test set is frozen, but somebody should know how much of it is doubted.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet
from components.shared.records.masking import KINDS
from components.shared.records.resolved_labels import read_resolved
from components.shared.records.reviews import SPLITS
from components.shared.records.splits import TEST, text_identity
from components.shared.records.text import model_text

_MASK = re.compile(rf"\[(?:{'|'.join(KINDS)})\]")


@dataclass(frozen=True)
class HeldOut:
    """A review of validation or test."""

    review_id: str
    split: int
    sentiment: int
    title: str | None
    review_body: str


@dataclass(frozen=True)
class Corrections:
    """What becomes of the resolved labels.

    Attributes:
        added: Rows of `resolved_labels_schema` that the training part gets.
        known: Rows of reviews that the data hold: the feature store has their label.
        held_out: Rows whose text is one of validation or test.
        disputes: Labels of test reviews that people see otherwise, without their texts.
    """

    added: list[dict[str, Any]]
    known: int
    held_out: int
    disputes: list[dict[str, Any]]

    def counts(self) -> dict[str, int]:
        """For the summary."""
        numbers = {"added": len(self.added), "known": self.known, "held_out": self.held_out}
        return numbers | {"disputes": len(self.disputes)}


NONE = Corrections([], 0, 0, [])


def read_corrections(place: str | Path, labels: LabelSet) -> list[dict[str, Any]]:
    """The resolved labels that stand, by review; see `read_resolved` for the place.

    Raises:
        UserError: If there is nothing, or the labels are of other classes.
    """
    table = read_resolved(place)
    found = LabelSet.of(table.schema)
    if table.num_rows and found != labels:
        raise UserError(
            f"the resolved labels in {place} are of the classes {found}, the reviews of {labels}; "
            "name the ones of these reviews"
        )
    return [row for row in table.to_pylist() if row["votes"] and row["weight"] > 0]


def sort_out(
    resolved: list[dict[str, Any]],
    known_ids: Iterable[str],
    held_out: Iterable[HeldOut],
    labels: LabelSet,
) -> Corrections:
    """Say of each resolved label whether training may learn from it.

    Args:
        resolved: Rows of `read_corrections`.
        known_ids: Ids of all reviews of the data.
        held_out: The reviews of validation and test.
        labels: The classes.
    """
    if not resolved:
        return NONE
    by_id = {row["review_id"]: row for row in resolved}
    known = by_id.keys() & set(known_ids)
    by_text: dict[str, set[str]] = {}
    for row in resolved:
        for identity in _texts(row["title"], row["review_body"]):
            by_text.setdefault(identity, set()).add(row["review_id"])
    patterns = [(pattern, row["review_id"]) for row in resolved for pattern in _patterns(row)]
    kept_out, disputes = set(), {}
    for review in held_out:
        identities = _texts(review.title, review.review_body)
        same = {name for pattern, name in patterns if any(map(pattern.fullmatch, identities))}
        same = same.union(*(by_text.get(one, ()) for one in identities))
        kept_out |= same
        if review.review_id in by_id:
            same.add(review.review_id)
        for name in sorted(same) if review.split == TEST else ():
            row = by_id[name]
            if row["sentiment"] != review.sentiment:
                disputes[review.review_id, name] = _dispute(review, row, labels)
    added = [
        row for name, row in sorted(by_id.items()) if name not in known and name not in kept_out
    ]
    return Corrections(added, len(known), len(kept_out - known), list(disputes.values()))


def _texts(title: str | None, body: str) -> set[str]:
    """What a review is recognised by: alone, and with its title before it as a log has it."""
    return {text_identity(body), text_identity(model_text(title, body))}


def _patterns(row: dict[str, Any]) -> Iterator["re.Pattern[str]"]:
    """Expressions for a masked text: where something was taken out, anything may have stood."""
    for text in {row["review_body"], model_text(row["title"], row["review_body"])}:
        parts = [text_identity(part) if part.strip() else "" for part in _MASK.split(text)]
        if len(parts) > 1 and any(parts):
            yield re.compile(".{0,80}".join(map(re.escape, parts)), re.DOTALL)


def _dispute(review: HeldOut, row: dict[str, Any], labels: LabelSet) -> dict[str, Any]:
    names = dict(zip(labels.values, labels.names, strict=True))
    return {
        "review_id": review.review_id,
        "split": SPLITS[review.split],
        "given": names[review.sentiment],
        "reviewed": names[row["sentiment"]],
        "reviewed_as": row["item_id"],
        "votes": row["votes"],
        "agreement": row["agreement"],
        "resolved_at": row["event_timestamp"].isoformat(),
    }


def as_reviews(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Resolved rows in the schema of the prepared reviews, without what prepare decides itself."""
    made = [
        dict.fromkeys(schema.names)
        | {name: row[name] for name in schema.names if name in row}
        | {"split": "train", "copies": 1}
        for row in rows
    ]
    return pa.Table.from_pylist(made, schema=schema)
