"""Forgetting one review: a note that readers honour at once, then the purge, then the record."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from components.personal_data.lineage import models_of, remember, training_sets_with
from components.personal_data.walk import Find, find, remove, wanted_of
from components.personal_data.wanted import Wanted
from components.shared.machine.errors import UserError
from components.shared.machine.files import locked, read_json, write_json
from components.shared.records.forgotten import note_of, notes_folder

logger = logging.getLogger(__name__)

_ROUNDS = 3
"""A program may send again what it read just before: a server its log, the review its items."""


class Service(Protocol):
    """A store that is reached through a program, not as files."""

    name: str

    def count(self, ids: frozenset[str]) -> int:
        """How many of its rows are of the review."""

    def delete(self, ids: frozenset[str]) -> int:
        """Delete them; the number that were there."""


@dataclass(frozen=True)
class Stores:
    """Everything that may hold a review."""

    state: Path  # State folder: the note and the record go there.
    roots: Sequence[Path]  # Folders that are walked through, the state folder among them.
    services: Sequence[Service] = ()
    # What is done once files were changed, and again where it was not done: it says how many of
    # its files it found changed.
    afterwards: Sequence[Callable[[], int]] = ()


@dataclass(frozen=True)
class Forgotten:
    """What was done, as the note in the state folder says it too."""

    removed: dict[str, int]  # Rows, lines and pages by store: the folder or service they were in.
    models: list[str] = field(default_factory=list)  # Model folders that learned from the review.
    before: str = ""  # When it was forgotten before; '' where this is the first time.


def forget(review_id: str, stores: Stores) -> Forgotten:
    """Take a review out of every store; killed at any point, it is done by doing it again.

    What tells the review's text goes last: by it the pages and logs are recognised that show the
    text without the id.

    Raises:
        UserError: If the review is nowhere, or something cannot be purged; it says what.
    """
    _check_id(review_id)
    with locked(notes_folder(stores.state).parent / ".lock"):
        note = note_of(review_id, stores.state)
        known: dict[str, Any] = read_json(note) if note.is_file() else {}
        wanted = wanted_of(review_id, stores.roots)
        finds = find(wanted, stores.roots)
        held = {one.name: one.count(wanted.ids) for one in stores.services}
        if not (finds or any(held.values()) or known):
            raise UserError(
                f"the review {review_id!r} is nowhere in {_listed(stores)}; check the id: it is "
                "that of the data, or the hash of the review that ingest made"
            )
        sets = training_sets_with(review_id, stores.roots)
        models = models_of(sets.values(), stores.roots, stores.state)
        known.setdefault("noted", _now())
        known["models"] = sorted({*known.get("models", []), *models})
        # Before anything is changed: whoever reads reviews leaves this one out from now on.
        write_json(note, known)
        removed: dict[str, int] = {}
        try:
            for _ in range(_ROUNDS):
                for store, rows in _purge(finds, wanted, stores).items():
                    removed[store] = removed.get(store, 0) + rows
                if not (finds := find(wanted, stores.roots)):
                    break
        finally:
            remember(sets, stores.state)
            total = known.get("removed", {})
            known["removed"] = {
                name: total.get(name, 0) + removed.get(name, 0) for name in {*total, *removed}
            }
            write_json(note, known)
        before = known.get("finished", "")
        if finds:
            raise UserError(
                f"the review was written again into {finds[0].path} while it was being deleted; "
                "stop what writes there, and run again"
            )
        known["finished"] = _now()
        write_json(note, known)
    return Forgotten(removed, known["models"], before)


def left_of(review_id: str, stores: Stores, text: str = "") -> list[str]:
    """Where a review still is; reads only. The text is one to look for besides the id."""
    _check_id(review_id)
    wanted = wanted_of(review_id, stores.roots, text)
    places = [f"{one.path} ({one.rows})" for one in find(wanted, stores.roots)]
    for service in stores.services:
        if count := service.count(wanted.ids):
            places.append(f"{service.name} ({count})")
    return places


def _purge(finds: Sequence[Find], wanted: Wanted, stores: Stores) -> dict[str, int]:
    """Remove what was found; how much by store."""
    removed: dict[str, int] = {}
    refused: list[str] = []
    for service in stores.services:
        if rows := service.delete(wanted.ids):
            removed[service.name] = rows
    for one in finds:
        if one.tells_text and refused:
            break  # By its text the others are found next time.
        try:
            remove(one, wanted)
        except UserError as error:
            refused.append(str(error))
            continue
        store = _store_of(one.path, stores.roots)
        removed[store] = removed.get(store, 0) + one.rows
    for finish in stores.afterwards:
        finish()
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise UserError(refused[0] + more)
    return removed


def _store_of(path: Path, roots: Sequence[Path]) -> str:
    """The folder of a store: state/feature_store, runs/<time>/ingest-reviews."""
    for root in roots:
        if path.is_relative_to(root.resolve()):
            inner = path.relative_to(root.resolve()).parts[:-1]
            return "/".join([root.name, *inner[:2]])
    return str(path.parent)


def _check_id(review_id: str) -> None:
    if not review_id.strip():
        raise UserError("no review is named; give its review_id")


def _listed(stores: Stores) -> str:
    return ", ".join([*map(str, stores.roots), *(one.name for one in stores.services)])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
