"""The middle step of a review: send what is open, wait a while, and bring the votes home."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.review.options import ReviewOptions
from components.review.service import ADJUDICATION, ReviewService
from components.review.status import read_status
from components.shared.machine.files import locked, read_parquet, write_json
from components.shared.records.labels import labels_of_file
from components.shared.records.review_items import review_items_schema
from components.shared.records.votes import RawVote, keep_votes

logger = logging.getLogger(__name__)

POLL_SECONDS = 30.0

_BEGUN = "adjudication.begun"
"""File of the review folder that says that there is a project for items in doubt."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for people; without seconds the service is looked at once."""

    seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Gathered:
    """What was sent and what came back."""

    sent: int  # items that were sent now
    there_already: int  # open items that had been sent before
    adjudicated: int  # items in doubt that one more person is asked about
    events: int  # votes that are new, changed or gone
    votes: int  # votes that the service shows
    lacking: int  # votes that open items still lack
    waited_seconds: float


_NO_PATIENCE = Patience()


def gather_votes(
    service: ReviewService,
    items: str | Path,
    folder: Path,
    summary: str | Path,
    options: ReviewOptions,
    key: bytes,
    patience: Patience = _NO_PATIENCE,
) -> Gathered:
    """Send the open items, and keep the votes in the journal until there are enough or time is up.

    Everything may be repeated: what was sent is not sent again, what was read is not kept twice,
    and what is missing when the time is up is there at the next run.

    Args:
        service: Where people vote.
        items: The items of all draws.
        folder: The review folder, with the journal in `votes/`.
        summary: Where to write what was done as JSON.
        options: How many people see an item.
        key: Of the pseudonyms.
        patience: How long to wait for votes.

    Raises:
        UserError: If the service stays away, does not take the token, or lost all its votes.
    """
    labels = labels_of_file(items)
    status = read_status(folder)
    opened = status.open(read_parquet(items, review_items_schema(labels))).to_pylist()
    doubtful = [row for row in opened if row["item_id"] in status.doubtful]
    projects = [service.ensure_project(labels, options.people)]
    sent = service.send(projects[0], opened)
    begun = folder / _BEGUN
    if doubtful or begun.exists():
        # From now on it is always read: votes that are not shown would be taken for deleted.
        begun.touch()
        projects.append(service.ensure_project(labels, options.extra, ADJUDICATION))
        service.send(projects[1], doubtful)
    begin, events = patience.clock(), 0
    while True:
        # Somebody who read before and writes after us would take our newest votes for deleted.
        with locked(folder / "gathering.lock"):
            seen = [vote for project in projects for vote in service.read_votes(project)]
            there = {item for project in projects for item in service.item_ids(project)}
            now = datetime.now(UTC)
            events += keep_votes(folder / "votes", seen, there, key, now).num_rows
        lacking = _lacking(opened, doubtful, seen, options)
        waited = patience.clock() - begin
        if not lacking or waited >= patience.seconds:
            break
        logger.info(
            "%d votes are missing; looking again for %.0f s", lacking, patience.seconds - waited
        )
        patience.sleep(min(POLL_SECONDS, patience.seconds - waited))
    done = Gathered(
        sent=sent.sent,
        there_already=sent.there_already,
        adjudicated=len(doubtful),
        events=events,
        votes=len(seen),
        lacking=lacking,
        waited_seconds=waited,
    )
    write_json(summary, asdict(done))
    return done


def _lacking(
    opened: list[dict[str, Any]],
    doubtful: list[dict[str, Any]],
    seen: list[RawVote],
    options: ReviewOptions,
) -> int:
    """Votes that open items lack: each person counts once, each item in doubt wants one more."""
    people: dict[str, set[str]] = {}
    for vote in seen:
        people.setdefault(vote.item_id, set()).add(vote.person)
    wanted = {row["item_id"]: options.people for row in opened}
    wanted |= {row["item_id"]: options.people + 1 for row in doubtful}
    return sum(max(0, n - len(people.get(item, ()))) for item, n in wanted.items())
