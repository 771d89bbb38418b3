"""The first step of a review: draw whom to ask about, keep what was drawn, list what is open."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.review.options import ReviewOptions
from components.review.queues import counted_by, doubtful_labels, draw_live, live_reviews
from components.review.status import read_status
from components.review.thresholds import (
    RULE,
    Threshold,
    below_threshold,
    chosen_threshold,
    resolved_error,
    threshold_table,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, read_parquet, write_json, write_parquet
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.payloads import read_payloads
from components.shared.records.review_items import (
    AUDIT,
    LABEL_NOISE,
    QUEUES,
    UNCERTAIN,
    check_answers,
    read_items,
    write_items,
)
from components.shared.records.reviews import predictions_schema
from components.shared.records.splits import text_identity
from components.shared.records.suspects import suspects_schema
from components.shared.records.text import model_text

logger = logging.getLogger(__name__)

_LOG_COLUMNS = (
    *("time", "model_name", "model_version", "text_sha256", "text", "label", "p_*"),
    *("review_id", "product_category"),
)

_LEAST = 0.1
"""Share of a queue's items that is drawn however many wait for votes."""


@dataclass(frozen=True)
class Sources:
    """Where a review takes its items from.

    Attributes:
        predictions: The model's predictions for the test split: the table of thresholds.
        log: Folder or URI of the payload log; empty for none.
        suspects: What the search for label noise wrote; None for none.
        since: Time from which the log is read; empty for the end of the window before.
        until: Time up to which it is read; empty for now.
    """

    predictions: str | Path
    log: str = ""
    suspects: str | Path | None = None
    since: str = ""
    until: str = ""


def select_items(
    sources: Sources,
    folder: Path,
    items: str | Path,
    summary: str | Path,
    options: ReviewOptions,
    mask: Callable[[str], str],
) -> dict[str, Any]:
    """Draw the items of a window, keep them for good, and write all that were ever drawn.

    A window that was drawn before is not drawn again: its items are those that were kept, so that
    a run that was killed goes on where it was. No text is asked about twice.

    Args:
        sources: Log, suspects and predictions.
        folder: The review folder, which keeps the draws in `items/`.
        items: Where to write the items of all draws, `review_items_schema`.
        summary: Where to write the summary as JSON.
        options: Shares, budget and seed.
        mask: Takes out what is personal in texts that no log has masked.

    Returns:
        The summary.

    Raises:
        UserError: If a time is none or lies the wrong way round, an artifact is damaged, or earlier
            items are of other classes.
    """
    labels = labels_of_file(sources.predictions)
    check_answers(labels)
    table, chosen = _thresholds(sources.predictions, labels, options)
    kept = folder / "items"
    until = _time("until", sources.until) or datetime.now(UTC)
    name = _name_of(until, sources, options)
    if (kept / f"{name}.parquet").exists():
        drawn = read_json(kept / f"{name}.json")
    else:
        window = _since(sources, until, kept), until
        drawn = _draw(sources, window, kept / name, chosen, options, labels, mask)
    whole = read_items(kept, labels)
    found = drawn | {
        "classes": list(labels.names),
        "thresholds": [row.to_dict() for row in table],
        "chosen": chosen.to_dict(),
        "rule": RULE if options.threshold == 0 else "set by hand",
        "options": options.to_dict(),
        "items_ever": whole.num_rows,
    }
    write_parquet(items, whole)
    write_json(summary, found)
    by_queue = ", ".join(f"{count} {queue}" for queue, count in drawn["drawn"].items())
    logger.info("items drawn: %s; %d in all draws", by_queue or "none", whole.num_rows)
    return found


def _draw(
    sources: Sources,
    window: tuple[datetime | None, datetime],
    place: Path,
    chosen: Threshold,
    options: ReviewOptions,
    labels: LabelSet,
    mask: Callable[[str], str],
) -> dict[str, Any]:
    """Draw the items of one window and keep them under the draw's name."""
    since, until = window
    before = read_items(place.parent, labels)
    opened = counted_by(read_status(place.parents[1]).open(before)["queue"])
    asked = set(before["item_id"].to_pylist()) | {
        text_identity(model_text(title, body))
        for title, body in zip(
            before["title"].to_pylist(), before["review_body"].to_pylist(), strict=True
        )
    }
    log, skipped = _log(sources, since, until, labels)
    live = live_reviews(log, asked, labels)
    rows = len(live.identities)
    room = {queue: _room(options.expected(queue), opened.get(queue, 0)) for queue in QUEUES}
    uncertain, audit = min(room[UNCERTAIN], chosen.volume * rows), min(room[AUDIT], rows)
    parts = [draw_live(live, uncertain, audit, place.name, options.seed, labels)]
    taken = asked | set(parts[0]["item_id"].to_pylist())
    suspects = suspects_schema(labels).empty_table()
    if sources.suspects is not None:
        suspects = read_parquet(sources.suspects, suspects_schema(labels))
        most = round(room[LABEL_NOISE])
        parts.append(doubtful_labels(suspects, most, taken, mask, labels, until))
    whole = pa.concat_tables(parts)
    counts = counted_by(whole["queue"])
    facts = {
        "since": since.isoformat() if since else "",
        "until": until.isoformat(),
        "log": {
            "rows": live.logged,
            "without_text": live.without_text,
            "asked_before": live.asked_before,
            "texts": rows,
            "skipped": skipped,
        },
        "suspects": suspects.num_rows,
        "expected": {UNCERTAIN: uncertain, AUDIT: audit},
        "drawn": {queue: counts[queue] for queue in QUEUES if queue in counts},
    }
    # The items come last: a draw is there when its items are.
    write_json(place.with_suffix(".json"), facts)
    write_items(place.parent, place.name, whole)
    return facts


def _room(expected: float, opened: int) -> float:
    """Items to draw where some wait already: never none, so that each review has a chance."""
    return max(expected - opened, expected * _LEAST)


def _log(
    sources: Sources, since: datetime | None, until: datetime, labels: LabelSet
) -> tuple[pa.Table, list[str]]:
    """The window of the log, without rows where no log is named, and what of it is damaged."""
    skipped: list[str] = []
    if not sources.log:
        texts = [name for name in _LOG_COLUMNS if name not in ("time", "p_*")]
        empty = {name: pa.array([], pa.string()) for name in texts}
        empty |= {f"p_{name}": pa.array([], pa.float32()) for name in labels.names}
        return pa.table(empty | {"time": pa.array([], pa.timestamp("us", tz="UTC"))}), skipped
    columns = list(_LOG_COLUMNS)
    log = read_payloads(sources.log, since=since, until=until, columns=columns, skipped=skipped)
    for sentence in skipped:
        logger.warning("%s", sentence)
    logged = {name[2:] for name in log.column_names if name.startswith("p_")}
    if log.num_rows and logged != set(labels.names):
        raise UserError(
            f"the payload log at {sources.log} is of the classes {', '.join(sorted(logged))}, the "
            f"model of {', '.join(labels.names)}; name the log of this model's service"
        )
    return log, skipped


def _since(sources: Sources, until: datetime, kept: Path) -> datetime | None:
    """From when the log is read: as set, or from the end of the last window; None: all of it."""
    since = _time("since", sources.since)
    if since is None:
        draws = [file.with_suffix(".json") for file in kept.glob("*.parquet")]
        ends = [read_json(file)["until"] for file in draws]
        since = max(map(datetime.fromisoformat, ends), default=None)
    if since is not None and since >= until:
        raise UserError(
            f"the window of the review begins at {since.isoformat()} and ends at "
            f"{until.isoformat()}; name a later end"
        )
    return since


def _time(name: str, text: str) -> datetime | None:
    """A moment as ISO 8601, in UTC where it names no zone; None where empty."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{name} is {text!r}; give a time such as 2026-11-22T08:00:00+00:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _name_of(until: datetime, sources: Sources, options: ReviewOptions) -> str:
    """Name of a draw: the end of its window, and a hash of what decides who is drawn."""
    drawn_by = ("items", "uncertain", "label_noise", "audit", "threshold", "seed")
    facts = {name: value for name, value in options.to_dict().items() if name in drawn_by}
    facts |= {"since": sources.since, "log": bool(sources.log)}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{until.astimezone(UTC):%Y%m%dT%H%M%S%f}-{digest}"


def _thresholds(
    predictions: str | Path, labels: LabelSet, options: ReviewOptions
) -> tuple[list[Threshold], Threshold]:
    """The table, and the entry that counts: chosen by the rule, or the one that was set."""
    names = ["sentiment", "predicted", *(f"p_{name}" for name in labels.names)]
    table = read_parquet(predictions, predictions_schema(labels), names)
    if not table.num_rows:
        raise UserError(f"{predictions} holds no predictions; evaluate the model again")
    confidence = np.max([table[f"p_{name}"].to_numpy() for name in labels.names], axis=0)
    right = table["sentiment"].to_numpy() == table["predicted"].to_numpy()
    error = resolved_error(options.error, options.people)
    rows = threshold_table(confidence, right, error)
    if options.threshold == 0:
        return rows, chosen_threshold(rows)
    return rows, below_threshold(confidence, right, error, options.threshold)
