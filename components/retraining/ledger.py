"""The ledger of retrainings: decided once under a lock, so that no evidence triggers two."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.retraining.decide import (
    RETRAIN,
    Decision,
    Retraining,
    Situation,
    TriggerOptions,
    decide,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import locked, read_json, write_json
from components.shared.machine.state import state_folder

_LEASE = "review-sentiment-retraining"
_TIMES = ("started", "labels_until", "window_until")


def ledger_dir() -> Path:
    """Folder of the ledger."""
    return state_folder() / "retraining"


def decide_once(
    situation: Situation,
    options: TriggerOptions,
    run: str,
    folder: Path | None = None,
    now: datetime | None = None,
) -> Decision:
    """Decide, and write down the evidence if the decision is to retrain.

    What looks like a reason is decided on again under a lock, with what others wrote meanwhile. A
    run that is asked again, as after a restart of its step, gives the answer that it gave before.

    Args:
        situation: What is known.
        options: When a retraining is worth it.
        run: Name of the pipeline run, unique.
        folder: Folder of the ledger; the environment's where None.
        now: Time of the decision; the clock's where None.

    Raises:
        UserError: If an entry of the ledger cannot be read.
    """
    folder = folder or ledger_dir()
    now = now or datetime.now(UTC)
    before = read_ledger(folder)
    own = next((one for one in before if one.run == run), None)
    if own is not None:
        return Decision(RETRAIN, own.reason, own.new_labels)
    decision = decide(situation, before, options, now)
    if decision.action != RETRAIN:
        return decision
    with _alone(folder, run):
        decision = decide(situation, read_ledger(folder), options, now)
        if decision.action == RETRAIN:
            until = max(situation.labels), situation.window_until
            _write(
                folder, Retraining(run, now, False, *until, decision.reason, decision.new_labels)
            )
    return decision


def note_end(run: str, folder: Path | None = None) -> None:
    """Note that the retraining of a run came to its end; nothing happens without such an entry."""
    folder = folder or ledger_dir()
    for entry in read_ledger(folder):
        if entry.run == run and not entry.ended:
            _write(folder, replace(entry, ended=True))


def read_ledger(folder: Path) -> list[Retraining]:
    """All entries, the oldest first.

    Raises:
        UserError: If one cannot be read; it names the file.
    """
    entries = []
    for path in sorted(folder.glob("[!.]*.json")):
        content: dict[str, Any] = read_json(path)
        try:
            times = {name: datetime.fromisoformat(content[name]) for name in _TIMES}
            entries.append(Retraining(**(content | times)))
        except (KeyError, TypeError, ValueError) as error:
            why = f"{path} is no entry of the ledger of retrainings ({error})"
            raise UserError(f"{why}; move it away") from None
    return sorted(entries, key=lambda one: one.started)


def _write(folder: Path, entry: Retraining) -> None:
    times = {name: getattr(entry, name).isoformat() for name in _TIMES}
    write_json(folder / f"{entry.run}.json", asdict(entry) | times)


@contextmanager
def _alone(folder: Path, run: str) -> Iterator[None]:
    """Keep others from deciding: by a Lease in a cluster, by a lock file on one machine."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        from components.shared.kubernetes.connection import connect
        from components.shared.kubernetes.lease import LEASES, leased
        from components.shared.kubernetes.objects import Objects

        client, namespace = connect()
        with leased(Objects(client, namespace, LEASES), _LEASE, run):
            yield
    else:
        with locked(folder / ".deciding.lock"):
            yield
