"""The last step of a review: from the journal's votes to resolved labels, and what stays open."""

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.review.aggregate import probabilities, reviewers_of
from components.review.agreement import agreement
from components.review.counting import Votes, count_votes
from components.review.options import ReviewOptions
from components.review.status import Status, write_status
from components.shared.machine.files import locked, read_parquet, write_json, write_parquet
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.resolved_labels import (
    WITHDRAWN,
    read_resolved,
    resolved_labels_schema,
    write_resolved,
)
from components.shared.records.review_items import AUDIT, review_items_schema
from components.shared.records.votes import read_votes

logger = logging.getLogger(__name__)

RESOLVED, WAITING, DOUBT, CANNOT, UNDECIDED = (
    *("resolved", "waiting", "in doubt", "cannot tell", "undecided"),
)
STATES = (RESOLVED, WAITING, DOUBT, CANNOT, UNDECIDED)
"""What an item can be: waiting lacks votes; one in doubt gets an extra vote; an undecided one had
all extra votes and is given up."""

_SAME = ("sentiment", "votes", "agreement", "adjudicated")
"""Columns that make a resolved row another one than before; a probability alone does not, which
with each vote on any item moves a little."""


@dataclass(frozen=True)
class Resolution:
    """Which label each item has after the votes, and how sure it is."""

    state: list[str]  # of each item, one of `STATES`
    answer: NDArray[np.int64]  # [items] class index of the most probable label
    probability: NDArray[np.float64]  # [items]
    share: NDArray[np.float64]  # [items] of the votes for a class that gave it
    counts: NDArray[np.int64]  # [items, classes] votes for each
    adjudicated: NDArray[np.bool_]  # [items] whether more people were asked than the others
    method: str


def resolve_votes(
    items: str | Path,
    folder: Path,
    resolved: str | Path,
    summary: str | Path,
    options: ReviewOptions,
    now: datetime,
) -> dict[str, Any]:
    """Resolve the labels of all items by the votes in the journal.

    Rows that are new or other than before go to a new file of `resolved/` in the review folder,
    with `now` as the time at which they became known; nothing that was written is touched.

    Args:
        items: The items of all draws.
        folder: The review folder: `votes/` is read, `resolved/` grows.
        resolved: Where to write the resolved labels as they stand now.
        summary: Where to write the summary as JSON.
        options: How many votes, and how sure a label must be.
        now: Time of the resolution.

    Returns:
        The summary.

    Raises:
        UserError: If a file of the journal or of the resolved labels is damaged.
    """
    labels = labels_of_file(items)
    rows = read_parquet(items, review_items_schema(labels)).to_pylist()
    events = read_votes(folder / "votes")
    votes, counts = count_votes(events, [row["item_id"] for row in rows], labels)
    reviewers = reviewers_of(votes.of_class(), labels.names)
    lazy = [place for place, one in enumerate(reviewers) if one.lazy]
    kept = votes.only(~np.isin(votes.person, lazy))
    cast = np.bincount(votes.item, minlength=len(votes.items))
    made = resolution(kept, cast, options)
    with locked(folder / "resolved.lock"):
        whole, written = _write(rows, votes.items, made, folder, labels, now)
    states = _states(rows, votes.items, made)
    closed = {name for name, state in states.items() if state in (RESOLVED, CANNOT, UNDECIDED)}
    doubtful = {name for name, state in states.items() if state == DOUBT}
    write_status(folder, Status(frozenset(closed), frozenset(doubtful)))
    write_parquet(resolved, whole)
    found = _summary(rows, votes, made, states, labels, options) | {
        "votes": counts.to_dict(),
        "reviewers": [one.to_dict() for one in reviewers],
        "price": options.price(len(votes.item), counts.seconds),
        "new": written,
        "now": now.isoformat(),
    }
    write_json(summary, found)
    states = ", ".join(f"{found['states'][one]} {one}" for one in STATES)
    logger.info("%d votes of %d people; %s", counts.counted, len(reviewers), states)
    for one in reviewers:
        if one.lazy:
            logger.warning("%s", one.in_words)
    return found


def resolution(votes: Votes, cast: NDArray[np.int64], options: ReviewOptions) -> Resolution:
    """Label and state of each item, from the votes that count.

    Args:
        votes: Those that count, "cannot tell" among them.
        cast: [items] votes that the service has of each item, those that do not count among them.
        options: How many votes, and how sure a label must be.
    """
    counts, unclear = votes.table(), votes.cannot_tell()
    chances, method = probabilities(votes.of_class(), options.error)
    answer, number = chances.argmax(axis=1), counts.sum(axis=1)
    places = np.arange(len(answer))
    share = counts[places, answer] / np.maximum(number, 1)
    probability = chances[places, answer]
    least = min(2, options.people)
    sure = (share >= options.agreement) & (probability >= options.certainty) & (number >= least)
    state = np.select(
        [
            (unclear > number) & (unclear >= least),
            sure & (number >= unclear),
            cast >= options.people + options.extra,
            cast >= options.people,
        ],
        [CANNOT, RESOLVED, UNDECIDED, DOUBT],
        WAITING,
    )
    return Resolution(
        state=state.tolist(),
        answer=answer,
        probability=probability,
        share=share,
        counts=counts,
        adjudicated=cast > options.people,
        method=method,
    )


def _write(
    rows: list[dict[str, Any]],
    voted: list[str],
    made: Resolution,
    folder: Path,
    labels: LabelSet,
    now: datetime,
) -> tuple[pa.Table, int]:
    """Write what is new to `resolved/`; all that stands now, and the number of new rows."""
    place, schema = folder / "resolved", resolved_labels_schema(labels)
    known = read_resolved(place).to_pylist() if place.exists() else []
    before = {row["item_id"]: row for row in known}
    by_id = {row["item_id"]: row for row in rows}
    fresh, standing = [], {}
    for number, item_id in enumerate(voted):
        if made.state[number] == RESOLVED:
            row = _row(by_id[item_id], made, number, labels, now)
            old = before.get(item_id)
            if old is None or any(old[name] != row[name] for name in _SAME):
                fresh.append(row)
                standing[item_id] = row
            else:
                standing[item_id] = old
    for item_id, old in before.items():
        if item_id not in standing and old["votes"] and item_id in by_id:
            fresh.append(_withdrawn(old, by_id[item_id], labels, now))
    write_resolved(place, pa.Table.from_pylist(fresh, schema=schema))
    whole = [standing[item_id] for item_id in sorted(standing)]
    return pa.Table.from_pylist(whole, schema=schema), len(fresh)


def _row(
    item: dict[str, Any], made: Resolution, number: int, labels: LabelSet, now: datetime
) -> dict[str, Any]:
    """The resolved row of an item."""
    same = ("item_id", "title", "review_body", "product_category", "weight", "queue")
    more = ("inclusion_probability", "occurrences", "model_name", "model_version")
    return {name: item[name] for name in (*same, *more)} | {
        "review_id": item["review_id"] or item["item_id"],
        "sentiment": labels.values[made.answer[number]],
        "label_source": "reviewer",
        "label_probability": float(made.probability[number]),
        "votes": int(made.counts[number].sum()),
        "agreement": float(made.share[number]),
        "reason": made.method,
        "adjudicated": bool(made.adjudicated[number]),
        "event_timestamp": now,
    }


def _withdrawn(
    old: dict[str, Any], item: dict[str, Any], labels: LabelSet, now: datetime
) -> dict[str, Any]:
    """The row that takes a label back: the label given before, or none that counts."""
    row = old | {"votes": 0, "agreement": 0.0, "reason": WITHDRAWN, "event_timestamp": now}
    if item["given"] is None:
        return row | {"weight": 0.0}
    value = labels.values[labels.names.index(item["given"])]
    return row | {"sentiment": value, "label_source": "given", "label_probability": 1.0}


def _states(rows: list[dict[str, Any]], voted: list[str], made: Resolution) -> dict[str, str]:
    """State of every item; those without any vote wait."""
    known = dict(zip(voted, made.state, strict=True))
    return {row["item_id"]: known.get(row["item_id"], WAITING) for row in rows}


def _summary(
    rows: list[dict[str, Any]],
    votes: Votes,
    made: Resolution,
    states: dict[str, str],
    labels: LabelSet,
    options: ReviewOptions,
) -> dict[str, Any]:
    """Facts about the items."""
    numbers = {item_id: number for number, item_id in enumerate(votes.items)}
    queues: dict[str, dict[str, int]] = {}
    for row in rows:
        counted = queues.setdefault(row["queue"], dict.fromkeys((*STATES, "other"), 0))
        counted[states[row["item_id"]]] += 1
        if states[row["item_id"]] == RESOLVED:
            answer = labels.names[made.answer[numbers[row["item_id"]]]]
            counted["other"] += answer != (row["given"] or row["label"])
    doubtful = [row for row in rows if states[row["item_id"]] in (DOUBT, UNDECIDED)]
    audited = np.isin(votes.items, [row["item_id"] for row in rows if row["queue"] == AUDIT])
    values = np.array(labels.values, float)
    return {
        "classes": list(labels.names),
        "items": len(rows),
        "states": dict.fromkeys(STATES, 0) | Counter(states.values()),
        "queues": queues,
        "method": made.method,
        "agreement": {
            "all": agreement(made.counts, values).to_dict(),
            "audit": agreement(made.counts[audited], values).to_dict(),
            "with_everybody": agreement(votes.table(), values).to_dict(),
        },
        "doubtful": [
            {name: row[name] for name in ("item_id", "queue", "title", "review_body")}
            | {"state": states[row["item_id"]]}
            | {"votes": labels.counted(made.counts[numbers[row["item_id"]]])}
            for row in doubtful
        ],
        "options": options.to_dict(),
    }
