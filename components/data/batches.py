"""Batches of rows as text columns, which every reader makes, and the rows that cannot be read."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.data.lines import is_sound, readable

MAX_RAW_CHARACTERS = 20_000
"""Longer fields of a rejected record are cut in the quarantine file."""

NOT_UTF8 = "holds bytes that are not UTF-8"
HOLDS_NUL = "holds a NUL character"


@dataclass(frozen=True)
class Rejected:
    """A rejected row."""

    line: int  # 1-based physical line where the record starts; row number for Parquet
    reason: str  # why, in words
    record: str  # the record as it was, as JSON text


@dataclass
class Batch:
    """Some rows of one source."""

    lines: list[int]  # where each row is, as in `Rejected`
    columns: dict[str, pa.Array]  # the rows' texts by field: Arrow string arrays
    raw: Callable[[int], str]  # gives row i as it was, as JSON text
    rejected: list[Rejected] = field(default_factory=list)  # rows that could not be read

    @property
    def rows(self) -> int:
        """All rows that were read, the rejected ones among them."""
        return len(self.lines) + len(self.rejected)


def as_json(fields: dict[str, Any]) -> str:
    """A record as JSON text, damage spelled out and absurd lengths cut."""
    shown = {
        readable(name): readable(value[:MAX_RAW_CHARACTERS]) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    text = json.dumps(shown, ensure_ascii=False, default=str)
    return text if is_sound(text) else json.dumps(shown, default=str)
