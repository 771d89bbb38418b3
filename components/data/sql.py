"""SQL on a data set: a query, run by a process that can read the data set's files and no others."""

import contextlib
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from components.data.query_process import Request, file_list, literal
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole
from components.shared.records.labels import LabelSet

if TYPE_CHECKING:
    import pyarrow as pa

QUERIES = Path(__file__).with_name("queries")
"""The named queries, one file each; the first line says what it answers."""

FORMATS = (".csv", ".parquet", ".json", ".jsonl")
"""Endings of files that an answer can be saved to; JSON is an object a line."""

VERSION_COLUMNS = ("split", "copies", "label_source", "label_probability")
"""What `reviews` says beside the review record where it is asked as of a version."""


@dataclass(frozen=True)
class Limits:
    """What a query may take."""

    seconds: float = 30
    rows: int = 1_000
    memory: str = "2GB"

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 24 * 3600:
            raise UserError(f"seconds is {self.seconds:g}; choose some from 1 to {24 * 3600}")
        if self.rows < 1:
            raise UserError(f"rows is {self.rows}; ask for at least one")


@dataclass(frozen=True)
class Answer:
    """The rows of an answer; `more` says that they are cut at the limit."""

    table: "pa.Table"
    more: bool


@dataclass(frozen=True)
class Tables:
    """The views that a query sees: `reviews`, `classes`, and the files behind them."""

    views: dict[str, str]
    files: list[str]

    @classmethod
    def of(cls, files: list[str], labels: str, splits: Path | None = None) -> "Tables":
        """The views on a data set.

        Args:
            files: Its Parquet files.
            labels: Its label set, as `LabelSet.parse` reads it.
            splits: The feature store's file on the labelled reviews of a version. `reviews` then
                has its `sentiment`, which may be a weak label, and `VERSION_COLUMNS`, null for a
                review that was left out of all splits.
        """
        columns, joined = "r.*", ""
        if splits:
            there = [name for name in VERSION_COLUMNS if name in pq.read_schema(splits).names]
            labelled = file_list([str(splits)])
            columns = "r.* REPLACE (coalesce(s.sentiment, r.sentiment) AS sentiment), "
            columns += ", ".join(f"s.{name}" for name in there)
            joined = f" LEFT JOIN read_parquet({labelled}) AS s USING (review_id)"
        stored = f"read_parquet({file_list(files)}, hive_partitioning = false)"
        reviews = f"SELECT {columns} FROM {stored} AS r{joined}"  # noqa: S608
        named = LabelSet.parse(labels)
        rows = zip(named.values, named.names, strict=True)
        values = ", ".join(f"({value}, {literal(name)})" for value, name in rows)
        classes = f"SELECT * FROM (VALUES {values}) AS c (sentiment, class)"  # noqa: S608
        views = {"reviews": reviews, "classes": classes}
        return cls(views, [*files, *([str(splits)] if splits else [])])


def named_queries() -> dict[str, tuple[str, str]]:
    """What each named query answers, and its SQL, by name."""
    made = {}
    for file in sorted(QUERIES.glob("*.sql")):
        about, _, query = file.read_text(encoding="utf-8").partition("\n")
        made[file.stem] = (about.removeprefix("--").strip(), query.strip().removesuffix(";"))
    return made


def ask(query: str, tables: Tables, limits: Limits | None = None) -> Answer:
    """The answer to a query, up to the limit of rows.

    Raises:
        UserError: If the query is wrong, is no SELECT, reads anything but the views, or takes more
            than the limits.
    """
    limits = limits or Limits()
    with _answered(query, tables, limits) as reader:
        table = reader.read_all()
    return Answer(table.slice(0, limits.rows), table.num_rows > limits.rows)


def save(query: str, tables: Tables, target: Path, limits: Limits) -> tuple[int, bool]:
    """Write an answer to a file, whole or not at all; its rows, and whether they were cut.

    Raises:
        UserError: As `ask`, and if the file's ending is not one of `FORMATS`.
    """
    check_format(target)
    import pyarrow as pa

    rows = 0
    try:
        with (
            _answered(query, tables, limits) as reader,
            replaced_when_whole(target) as draft,
            _writer(target, draft, reader.schema) as write,
        ):
            for batch in reader:
                kept = batch.slice(0, max(0, limits.rows - rows))
                write(kept)
                rows += batch.num_rows
    except pa.ArrowException as error:
        raise UserError(
            f"{target.suffix} cannot hold a column of the answer ({error}); cast it to VARCHAR"
        ) from None
    return min(rows, limits.rows), rows > limits.rows


def check_format(target: Path) -> None:
    """Raise `UserError` if an answer cannot be saved to a file that is called so."""
    if target.suffix not in FORMATS:
        raise UserError(f"{target} ends in none of {', '.join(FORMATS)}; name the file so")


@contextlib.contextmanager
def _answered(query: str, tables: Tables, limits: Limits) -> "Iterator[pa.RecordBatchReader]":
    """Run the query to its end in a process of its own; the rows then come from a file."""
    import pyarrow as pa

    with tempfile.TemporaryDirectory() as overflow, tempfile.TemporaryFile() as rows:
        request = Request(query, tables.views, tables.files, limits.rows, limits.memory, overflow)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "components.data.query_process"],
                input=request.to_json().encode(),
                stdout=rows,
                stderr=subprocess.PIPE,
                env={"PYTHONPATH": str(Path(__file__).parents[2])},  # none of our secrets
                timeout=limits.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"the query took more than {limits.seconds:g} s and was stopped; narrow it, or "
                f"give it more with SECONDS={2 * limits.seconds:g}"
            ) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            words = next((line for line in reversed(said) if line.startswith("error: ")), "")
            if not words:
                words = "the query ended its process, as if for want of memory; narrow it"
            raise UserError(words.removeprefix("error: "))
        rows.seek(0)
        with pa.ipc.open_stream(rows) as reader:
            yield reader


@contextlib.contextmanager
def _writer(target: Path, draft: Path, schema: "pa.Schema") -> Iterator[Any]:
    """A function that appends a batch to the draft, in the format that the target's name says."""
    import pyarrow.csv as pc

    if target.suffix == ".parquet":
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            yield writer.write_batch
    elif target.suffix == ".csv":
        with pc.CSVWriter(draft, schema) as writer:
            yield writer.write_batch
    else:
        with draft.open("w", encoding="utf-8") as stream:

            def write(batch: "pa.RecordBatch") -> None:
                for row in batch.to_pylist():
                    stream.write(json.dumps(_strict(row), ensure_ascii=False, default=str) + "\n")

            yield write


def _strict(value: Any) -> Any:
    """A value as JSON may hold it: a number that is not finite is null, a decimal a number."""
    if isinstance(value, dict):
        return {name: _strict(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_strict(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
