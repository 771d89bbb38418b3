"""The process that runs one query and can do nothing else (`-m components.data.query_process`).

It is a process of its own because DuckDB cannot be stopped within a function such as
`repeat('x', 4000000000)`, and so that nothing that a query does outlives it. The request comes as
JSON on standard input, the answer leaves as an Arrow stream on standard output.
"""

import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from components.shared.machine.errors import UserError, exit_in_words

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_BATCH_ROWS = 10_000
_ADDRESS_SPACE = 8 << 30
"""For what DuckDB allocates beside the memory that it counts."""


@dataclass(frozen=True)
class Request:
    """A query, what it may see, and its limits."""

    query: str
    views: dict[str, str]  # our own SQL by the name of the view
    files: list[str]  # all that the views read
    rows: int  # most rows of the answer
    memory: str  # as DuckDB writes it
    overflow: str  # folder for what does not fit into the memory

    def to_json(self) -> str:
        """The text that the process reads."""
        return json.dumps(asdict(self))


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def file_list(files: list[str]) -> str:
    """Files as the argument of `read_parquet`, which takes `[` for the beginning of a pattern."""
    return "[" + ", ".join(literal(_escaped(file)) for file in files) + "]"


def answer(request: Request) -> "pa.RecordBatchReader":
    """The rows of a query, as they are computed.

    Raises:
        UserError: If the query is not a single SELECT, or is wrong.
    """
    import duckdb

    connection = _locked_down(request)
    try:
        found = connection.extract_statements(request.query)
        if len(found) != 1:
            raise UserError(f"{len(found)} queries were given; give one at a time")
        if found[0].type != duckdb.StatementType.SELECT:
            kind = str(found[0].type).rpartition(".")[2]
            raise UserError(f"{kind} is not allowed; only SELECT is, for nothing is written here")
        return connection.sql(found[0].query).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise UserError(_in_words(error)) from None


def _locked_down(request: Request) -> "duckdb.DuckDBPyConnection":
    """DuckDB with the views, and without a way to anything else."""
    import duckdb

    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "memory_limit": request.memory,
        "temp_directory": request.overflow,
        "max_temp_directory_size": "10GB",
    }
    connection = duckdb.connect(config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    try:
        for name, query in request.views.items():
            connection.execute(f"CREATE VIEW {name} AS {query}")
    except duckdb.Error as error:
        raise UserError(
            f"the reviews cannot be read ({_in_words(error)}); remove the folder of these data and "
            "ingest them again"
        ) from None
    allowed = {*request.files, *map(_escaped, request.files)}
    connection.execute(f"SET allowed_paths = [{', '.join(map(literal, sorted(allowed)))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _escaped(file: str) -> str:
    return file.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def _in_words(error: "duckdb.Error") -> str:
    """DuckDB's error as a sentence with the remedy, where there is one."""
    import duckdb

    said = " ".join(str(error).split("\n\n")[0].split())
    said = said.partition("Error: ")[2] or said
    if isinstance(error, duckdb.PermissionException):
        return f"{said}; a query reads the views alone: see them with SHOW TABLES"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"the query needs more memory than it may take ({said}); ask for fewer rows at once"
    if 'column "split"' in said or 'column "copies"' in said:
        return f"{said}; splits belong to a version: ask with AS_OF=champion"
    return said


def _run() -> None:
    import duckdb
    import pyarrow as pa

    request = Request(**json.load(sys.stdin))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    rows = 0
    try:
        reader = answer(request)
        with pa.ipc.new_stream(sys.stdout.buffer, reader.schema) as stream:
            for batch in reader:
                # One row more than allowed says that there are more.
                stream.write(batch.slice(0, request.rows + 1 - rows))
                rows += batch.num_rows
                if rows > request.rows:
                    break
    except duckdb.Error as error:
        raise UserError(_in_words(error)) from None
    except MemoryError:
        raise UserError("the query needs more memory than it may take; narrow it") from None
    sys.stdout.buffer.flush()
    os._exit(0)  # without waiting for what DuckDB would still compute


if __name__ == "__main__":
    exit_in_words(_run)
