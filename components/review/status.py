"""Which items still wait, as the last resolution left it: between the steps, and between runs."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.shared.machine.files import read_json, write_json

_FILE = "status.json"


@dataclass(frozen=True)
class Status:
    """Item ids by what is to be done with them; all others wait for their first votes."""

    closed: frozenset[str] = frozenset()  # no more votes are needed, or would help
    doubtful: frozenset[str] = frozenset()  # one person more is asked

    def open(self, items: pa.Table) -> pa.Table:
        """The items that wait for votes."""
        kept = [item_id not in self.closed for item_id in items["item_id"].to_pylist()]
        return items.filter(pa.array(kept, pa.bool_()))


def read_status(folder: Path) -> Status:
    """The status of a review folder; nothing is closed before the first resolution."""
    file = folder / _FILE
    if not file.exists():
        return Status()
    found = read_json(file)
    return Status(frozenset(found["closed"]), frozenset(found["doubtful"]))


def write_status(folder: Path, status: Status) -> None:
    """Keep the status; it follows from votes and items, and is made anew each time."""
    write_json(
        folder / _FILE, {"closed": sorted(status.closed), "doubtful": sorted(status.doubtful)}
    )
