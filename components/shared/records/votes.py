"""Votes: what people said about review items, in a journal that only grows.

The review service keeps no trace of a vote that somebody deleted. So what was read of it is written
to a folder of immutable Parquet files, as events: a vote was cast, changed, or is there no more.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.machine.files import locked, read_parquet, write_parquet
from components.shared.machine.pseudonyms import pseudonym

VOTED, CHANGED, VANISHED = "voted", "changed", "vanished"
EVENTS = (VOTED, CHANGED, VANISHED)

MANY = 10
"""So many votes do not vanish all at once because people took them back."""

_TIME = pa.timestamp("us", tz="UTC")

VOTES_SCHEMA = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("item_id", "annotation_id", "annotator", "label", "event")
        ),
        pa.field("updated_at", _TIME, nullable=False),
        pa.field("read_at", _TIME, nullable=False),
        pa.field("lead_seconds", pa.float64()),
        pa.field("digest", pa.string(), nullable=False),
    ]
)
"""One row for each event.

`annotator` is a pseudonym. `label` is as the service holds it: a class name, `cannot_tell`, "" for
an item that the person skipped, or anything else that a client sent, which counting leaves out.
`updated_at` is the service's time of the vote, `read_at` when this project saw it. `digest` covers
the vote alone: it changes when the vote does.
"""


@dataclass(frozen=True)
class RawVote:
    """A vote as the review service shows it; `person` is a name or address, never written."""

    item_id: str
    annotation_id: str
    person: str
    label: str
    updated_at: datetime
    lead_seconds: float | None = None


def keep_votes(
    journal: Path,
    seen: Sequence[RawVote],
    items_there: Collection[str],
    key: bytes,
    read_at: datetime,
) -> pa.Table:
    """Write to the journal what is new about the votes; reading the same twice adds nothing.

    Args:
        journal: Folder of the journal; made if missing.
        seen: All votes that the service shows.
        items_there: Items that the service holds. A vote is withdrawn only if its item is still
            there: where a task was removed with its votes, what people said stands.
        key: Key of the pseudonyms.
        read_at: When the service was asked.

    Returns:
        The events that were written, in `VOTES_SCHEMA`.

    Raises:
        UserError: If a file of the journal is damaged, or if the service has the items and none of
            many votes, as after it was given another database.
    """
    with locked(journal / ".lock"):
        events = events_of(standing(read_votes(journal)), seen, items_there, key, read_at)
        append(journal, events)
    return events


def events_of(
    known: pa.Table,
    seen: Sequence[RawVote],
    items_there: Collection[str],
    key: bytes,
    read_at: datetime,
) -> pa.Table:
    """What is new about the votes, against those that stand in the journal; see `keep_votes`."""
    before = {row["annotation_id"]: row for row in known.to_pylist()}
    now = {vote.annotation_id: vote for vote in seen}
    rows = []
    for vote in now.values():
        row = _row(vote, key, read_at)
        old = before.get(vote.annotation_id)
        if old is None or old["digest"] != row["digest"]:
            rows.append(row | {"event": VOTED if old is None else CHANGED})
    there = set(items_there)
    gone = [row for name, row in before.items() if name not in now and row["item_id"] in there]
    if len(gone) >= MANY and len(gone) == len(before):
        raise UserError(
            f"the review service shows none of the {len(gone)} votes in the journal; if its "
            "database was lost, restore it, or move the journal's folder away to begin anew"
        )
    rows += [row | {"event": VANISHED, "read_at": read_at} for row in gone]
    return pa.Table.from_pylist(rows, schema=VOTES_SCHEMA)


def _row(vote: RawVote, key: bytes, read_at: datetime) -> dict[str, object]:
    annotator = pseudonym(key, "annotator", vote.person)
    facts = (vote.item_id, annotator, vote.label, vote.updated_at.isoformat())
    return {
        "item_id": vote.item_id,
        "annotation_id": vote.annotation_id,
        "annotator": annotator,
        "label": vote.label,
        "updated_at": vote.updated_at,
        "read_at": read_at,
        "lead_seconds": vote.lead_seconds,
        "digest": hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24],
    }


def append(journal: Path, events: pa.Table) -> Path | None:
    """Add a file with these events to the journal; none where there are no events."""
    if not events.num_rows:
        return None
    first = events["read_at"][0].as_py()
    told = "\n".join(events["annotation_id"].to_pylist() + events["digest"].to_pylist())
    name = f"{first:%Y%m%dT%H%M%S%f}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.parquet"
    write_parquet(journal / name, events.cast(VOTES_SCHEMA))
    return journal / name


def read_votes(journal: Path) -> pa.Table:
    """All events of the journal in the order in which they were read; no rows where it is empty.

    Raises:
        UserError: If a file is damaged.
    """
    parts = []
    for file in sorted(journal.glob("*.parquet")):
        try:
            parts.append(read_parquet(file, VOTES_SCHEMA))
        except UserError as error:
            raise UserError(
                f"a file of the votes' journal is damaged ({error}); restore it from a copy, or "
                "move it away: what the review service still holds is read again"
            ) from None
    whole = pa.concat_tables([VOTES_SCHEMA.empty_table(), *parts])
    return whole.sort_by([("read_at", "ascending"), ("annotation_id", "ascending")])


def standing(events: pa.Table) -> pa.Table:
    """The last event of each vote, without those that vanished."""
    last = {row["annotation_id"]: row for row in events.to_pylist()}
    rows = [row for row in last.values() if row["event"] != VANISHED]
    return pa.Table.from_pylist(rows, schema=VOTES_SCHEMA)
