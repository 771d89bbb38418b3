"""From the journal to the votes that count: a known answer, one vote for each person and item."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.records.labels import LabelSet
from components.shared.records.review_items import CANNOT_TELL
from components.shared.records.votes import CHANGED, VANISHED, standing

SHOWN = 5
"""Unknown answers that are named."""


@dataclass(frozen=True)
class Counts:
    """What became of the votes in the journal."""

    events: int = 0  # events of the journal
    changed: int = 0  # votes that somebody changed
    vanished: int = 0  # votes that were there and are no more
    unknown_item: int = 0  # votes on items that were never drawn
    unknown_label: int = 0  # votes that are no class and not "cannot tell"
    unknown_labels: list[str] = field(default_factory=list)  # some of those answers
    skipped: int = 0  # items that somebody passed over
    repeated: int = 0  # votes that a later one of the same person on the same item replaces
    contradictory: int = 0  # of those, votes for another answer than the later one
    cannot_tell: int = 0  # votes that say so
    counted: int = 0  # votes for a class
    seconds: float | None = None  # median working time of a vote, as the service measured it

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Votes:
    """The votes that count, as places in `items` and `people`."""

    items: list[str]  # ids of the items with votes, "cannot tell" included
    people: list[str]  # pseudonyms
    item: NDArray[np.int64]  # [v] place of the item
    person: NDArray[np.int64]  # [v] place of the person
    answer: NDArray[np.int64]  # [v] class index; the number of classes for "cannot tell"
    classes: int

    def of_class(self) -> "Votes":
        """The votes without "cannot tell"."""
        return self.only(self.answer < self.classes)

    def only(self, kept: NDArray[np.bool_]) -> "Votes":
        """The votes that are kept [v]."""
        columns = (column[kept] for column in (self.item, self.person, self.answer))
        return Votes(self.items, self.people, *columns, self.classes)

    def table(self) -> NDArray[np.int64]:
        """How often each class was voted for [items, classes]."""
        some = self.of_class()
        cells = some.item * self.classes + some.answer
        counts = np.bincount(cells, minlength=len(self.items) * self.classes)
        return counts.reshape(-1, self.classes)

    def cannot_tell(self) -> NDArray[np.int64]:
        """How many cannot tell [items]."""
        return np.bincount(self.item[self.answer == self.classes], minlength=len(self.items))


def count_votes(
    events: pa.Table, item_ids: Collection[str], labels: LabelSet
) -> tuple[Votes, Counts]:
    """Check the votes of a journal, and say what was left out.

    The last vote of a person on an item stands, by the service's time of it.

    Args:
        events: Rows of `VOTES_SCHEMA`.
        item_ids: Items that were drawn.
        labels: The classes.
    """
    index = {name: place for place, name in enumerate((*labels.names, CANNOT_TELL))}
    last: dict[tuple[str, str], dict[str, Any]] = {}
    unknown_item = skipped = repeated = contradictory = 0
    unknown: dict[str, int] = {}
    drawn = set(item_ids)
    for row in standing(events).sort_by([("updated_at", "ascending")]).to_pylist():
        key = row["item_id"], row["annotator"]
        if row["item_id"] not in drawn:
            unknown_item += 1
        elif not row["label"]:
            skipped += 1
        elif row["label"] not in index:
            unknown[row["label"]] = unknown.get(row["label"], 0) + 1
        else:
            if key in last:
                repeated += 1
                contradictory += last[key]["label"] != row["label"]
            last[key] = row
    rows = sorted(last.values(), key=lambda row: (row["item_id"], row["annotator"]))
    items = sorted({row["item_id"] for row in rows})
    people = sorted({row["annotator"] for row in rows})
    places = {one: place for place, one in enumerate(items)}
    numbers = {one: place for place, one in enumerate(people)}
    votes = Votes(
        items,
        people,
        np.array([places[row["item_id"]] for row in rows], np.int64),
        np.array([numbers[row["annotator"]] for row in rows], np.int64),
        np.array([index[row["label"]] for row in rows], np.int64),
        len(labels),
    )
    kinds = events["event"].to_pylist()
    times = [row["lead_seconds"] for row in rows if row["lead_seconds"]]
    cannot_tell = int((votes.answer == votes.classes).sum())
    return votes, Counts(
        events=events.num_rows,
        changed=kinds.count(CHANGED),
        vanished=kinds.count(VANISHED),
        unknown_item=unknown_item,
        unknown_label=sum(unknown.values()),
        unknown_labels=sorted(unknown, key=lambda one: (-unknown[one], one))[:SHOWN],
        skipped=skipped,
        repeated=repeated,
        contradictory=contradictory,
        cannot_tell=cannot_tell,
        counted=len(rows) - cannot_tell,
        seconds=float(np.median(times)) if times else None,
    )


def worked(events: pa.Table) -> tuple[int, float | None]:
    """Number of all votes that were ever cast, and the median working time of one, if known.

    Votes that were deleted or do not count were paid for as well.
    """
    rows = events.to_pylist()
    times = [row["lead_seconds"] for row in rows if row["lead_seconds"]]
    votes = len({row["annotation_id"] for row in rows})
    return votes, float(np.median(times)) if times else None
