"""The folders behind the views: DuckDB reads them, and files are added, never changed.

A file is written beside the folders and renamed into one, under the hash of its bytes. It holds
what the folder does not say yet: equal content adds nothing, and what was killed can be run again.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import data_dir, training_sets_dir
from components.shared.machine.files import locked, read_json, sha256_of_file, write_json
from feature_repo.definitions import LABELS_VIEW, TEXT_VIEW

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TEXT, _NUMBER, _REAL = pa.string(), pa.int32(), pa.float64()
_KEY = [
    pa.field("review_id", _TEXT),
    pa.field("event_timestamp", pa.timestamp("us", tz="UTC")),
    pa.field("created_timestamp", pa.timestamp("us", tz="UTC")),
]

TEXT_SCHEMA = pa.schema(
    [
        *_KEY,
        *(pa.field(name, _TEXT) for name in ("title", "review_body", "product_category")),
        pa.field("text_digest", _TEXT),
    ]
)
"""`review_text`: what a review says. `text_digest` tells two texts of one id from each other."""

LABELS_SCHEMA = pa.schema(
    [
        *_KEY,
        pa.field("sentiment", _NUMBER),
        pa.field("rating", _NUMBER),
        pa.field("label_source", _TEXT),
        pa.field("label_probability", _REAL),
        pa.field("votes", _NUMBER),
        pa.field("agreement", _REAL),
        pa.field("weight", _REAL),
        pa.field("labelled_text", _TEXT),
        pa.field("resolved_timestamp", pa.timestamp("us", tz="UTC")),
    ]
)
"""`review_labels`: `event_timestamp` is when the label became known: a rating with its review, what
people said when they had agreed (`resolved_timestamp`), or when the store heard of it, if it had
handed out labels as of a later time before. `votes` is null but for labels that people gave, and 0
where they took theirs back. `labelled_text` is the digest of the text that the label is of."""

TOKENS_SCHEMA = pa.schema(
    [
        *_KEY,
        pa.field("input_ids", pa.list_(_NUMBER)),
        pa.field("n_tokens", _NUMBER),
        pa.field("truncated", pa.bool_()),
        pa.field("tokenised_text", _TEXT),
    ]
)
"""`review_tokens_…`: `tokenised_text` is the digest of the text that the tokens are of."""

_AS_OF = "as_of.json"


SPINE_COLUMNS = ("review_id", "split", "copies", "sentiment", "label_source", "label_probability")
"""What the store remembers of each training set, beside the weights."""


@dataclass(frozen=True)
class Added:
    """What was added to a view."""

    rows: int
    file: Path | None  # None where there was nothing to add


def schema_of(view: str) -> pa.Schema:
    """The schema of a view's files."""
    if view == TEXT_VIEW:
        return TEXT_SCHEMA
    return LABELS_SCHEMA if view.startswith(LABELS_VIEW) else TOKENS_SCHEMA


@contextlib.contextmanager
def connection() -> "Iterator[DuckDBPyConnection]":
    """DuckDB in this process, in UTC; what does not fit into a gigabyte goes to disk."""
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="duckdb-") as overflow,
        duckdb.connect(config={"temp_directory": overflow, "memory_limit": "1GB"}) as opened,
    ):
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def digest(of: str = "") -> str:
    """SQL for the digest of a text, in the columns of a table that is given with its dot."""
    return f"left(sha256(coalesce({of}title, '') || chr(31) || {of}review_body), 16)"


def parquet(*places: Path | str) -> str:
    """SQL that reads Parquet files, each given by its path."""
    quoted = ", ".join("'" + str(place).replace("'", "''") + "'" for place in places)
    return f"read_parquet([{quoted}], union_by_name = true)"


def moment(time: datetime) -> str:
    """SQL for a time."""
    return f"TIMESTAMPTZ '{time.astimezone(UTC).isoformat()}'"


def show(opened: "DuckDBPyConnection", view: str) -> str:
    """Make the rows of a view known to DuckDB under the view's name; returns the name."""
    files = files_of(view)
    if files:
        opened.execute(f'CREATE OR REPLACE TEMP VIEW "{view}" AS FROM {parquet(*files)}')
    else:
        opened.register(view, schema_of(view).empty_table())
    return f'"{view}"'


def files_of(view: str) -> list[Path]:
    """The files of a view."""
    return sorted((data_dir() / view).glob("*.parquet"))


@contextlib.contextmanager
def adding(view: str) -> Iterator[Path]:
    """Hold a view's folder for adding to it; yields a path to write the draft of a file to."""
    drafts = data_dir() / ".drafts"
    drafts.mkdir(parents=True, exist_ok=True)
    with locked(data_dir() / f".{view}.lock"):
        for leftover in drafts.glob(f"{view}-*"):  # of a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f"{view}-", dir=drafts) as workshop:
            yield Path(workshop) / "draft.parquet"


def add(view: str, draft: Path) -> Added:
    """Put a draft into a view's folder, unless it is empty; the folder must be held."""
    import pyarrow.parquet as pq

    rows = pq.read_metadata(draft).num_rows
    if not rows:
        return Added(0, None)
    file = data_dir() / view / f"{sha256_of_file(draft)[:20]}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(file)
    return Added(rows, file)


def copy_to(draft: Path, opened: "DuckDBPyConnection", query: str, schema: pa.Schema) -> None:
    """Write the answer to a query as a Parquet file of a schema, batch by batch."""
    import pyarrow.parquet as pq

    reader = opened.sql(query).to_arrow_reader(8192)
    with pq.ParquetWriter(draft, schema, compression="zstd") as sink:
        for batch in reader:
            sink.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))


def remember(view: str, facts: dict[str, str], since: datetime | None = None) -> None:
    """Write the facts of a view beside its folder, where none are: the first to say them wins."""
    file = data_dir() / f"{view}.json"
    with locked(data_dir() / f".{view}.lock"):
        if not file.is_file():
            write_json(file, {**facts, "since": (since or datetime.now(UTC)).isoformat()})


def newest_as_of() -> datetime:
    """The newest time as of which a training set was retrieved: what is known of it stays so."""
    file = training_sets_dir() / _AS_OF
    newest = read_json(file)["newest"] if file.is_file() else "1970-01-01T00:00:00+00:00"
    return datetime.fromisoformat(newest)


def handed_out(as_of: datetime) -> None:
    """Remember that a training set was retrieved as of a time."""
    with locked(training_sets_dir() / ".lock"):
        if as_of > newest_as_of():
            write_json(training_sets_dir() / _AS_OF, {"newest": as_of.isoformat()})


def check_time(text: str, name: str) -> datetime:
    """A time in ISO 8601, in UTC where it names no zone; `UserError` if it is not one."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{name} {text!r} is not a time; write it as 2026-11-21T18:00") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
