"""Command line: ask the ingested reviews in SQL, at a prompt or by one query."""

import argparse
import logging
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.data.catalogue import DataSet, data_sets, files_of
from components.data.ddl import ENGINES, table_ddl
from components.data.sql import Answer, Limits, Tables, ask, check_format, named_queries, save
from components.shared.machine.commands import MODEL_NAME, make_command
from components.shared.machine.errors import UserError, exit_in_words
from pipelines.running.environment import local_environment

_SAVED_ROWS = 1_000_000
_DATED = re.compile(r"\d{4}-\d\d-\d\d($|[T ])")
_PROMPT, _GOES_ON = "sql> ", "...> "


@dataclass(frozen=True)
class Moment:
    """The data that `AS_OF` means, and the training set that divides them into splits."""

    data: DataSet
    training_set: str = ""
    said: str = "the newest data"


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer a query, or begin a prompt."""
    try:
        exit_in_words(lambda: _sql(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # as `| head` leaves it, and Python would say at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sql(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.sql", description=__doc__)
    query = "a SELECT, the name of a named query, or `list` for their names; a prompt without it"
    parser.add_argument("--query", default="", help=query)
    out = "file for the answer: .csv, .parquet or .json (an object a line)"
    parser.add_argument("--out", type=Path, help=out)
    as_of = (
        "whose data: champion or another alias or number of a version, the id or name of a run, a "
        "data fingerprint, a snapshot's id, or a time as 2026-11-21T18:00 (UTC)"
    )
    parser.add_argument("--as-of", default="", help=as_of)
    rows = f"most rows of the answer (default: {Limits.rows:,}; {_SAVED_ROWS:,} to a file)"
    parser.add_argument("--rows", type=int, help=rows)
    seconds = "most seconds that a query takes (default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help=seconds)
    ddl = "print the statement by which this engine reads the files, and ask nothing"
    parser.add_argument("--ddl", choices=ENGINES, help=ddl)
    where = "where the engine finds the files (default: a bucket to be named)"
    parser.add_argument("--location", default="", help=where)
    parser.add_argument("--model-name", default=MODEL_NAME, help="name in the registry")
    parser.add_argument("--state", type=Path, default=Path("state"), help="the runs' state folder")
    options = parser.parse_args(arguments)
    os.environ |= local_environment(options.state)
    if options.query.strip() == "list":
        _list_queries()
        return
    if options.out:
        check_format(options.out)
    limits = Limits(options.seconds, options.rows or (_SAVED_ROWS if options.out else Limits.rows))
    moment = find_moment(options.as_of.strip(), options.model_name)
    if options.ddl:
        print(table_ddl(options.ddl, moment.data, options.location))
        return
    tables = Tables.of(files_of(moment.data), moment.data.labels, _splits(moment))
    if options.out:
        if not options.query.strip():
            raise UserError("OUT= takes the answer to a query; give one with QUERY=")
        rows, more = save(_named(options.query), tables, options.out, limits)
        cut = f", cut at the limit: more with ROWS={2 * limits.rows}" if more else ""
        print(f"{options.out}: {rows:,} row{'s' * (rows != 1)}{cut}")
    elif options.query.strip():
        _print(ask(_named(options.query), tables, limits), limits)
    else:
        _prompt(moment, tables, limits, options.state / "sql_history")


def find_moment(as_of: str, model_name: str) -> Moment:
    """The data that `AS_OF` names.

    Raises:
        UserError: If there is no such version, run or time, or its data are not in the catalogue.
    """
    ingested = data_sets()
    if not as_of:
        return Moment(ingested[-1])
    for data in reversed(ingested):
        if as_of in (data.fingerprint, str(data.snapshot_id)):
            return Moment(data, said=f"data {as_of}")
    if (time := _time(as_of)) is not None:
        before = [data for data in ingested if data.ingested <= time]
        if not before:
            raise UserError(
                f"nothing was ingested before {time:%Y-%m-%d %H:%M:%S} UTC; the first data came at "
                f"{ingested[0].ingested:%Y-%m-%d %H:%M:%S} UTC"
            )
        return Moment(before[-1], said=f"the data of {time:%Y-%m-%d %H:%M:%S} UTC")
    tags, said = _facts_of(as_of, model_name)
    fingerprint = tags.get("data_fingerprint", "")
    for data in reversed(ingested):
        if data.fingerprint == fingerprint:
            return Moment(data, _training_set(tags), f"the data of {said}")
    raise UserError(
        f"the data of {said} (fingerprint {fingerprint or 'unknown'}) are not in the catalogue; "
        f"ingest them again: `{make_command('run', DATA='…')}`"
    )


def _time(text: str) -> datetime | None:
    """An ISO time, in UTC where it names no zone; None if it is none."""
    if not _DATED.match(text):  # the name of a run begins with a date, too
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _facts_of(as_of: str, model_name: str) -> tuple[dict[str, str], str]:
    """Tags of the version or run that is called so, and what to call it in a sentence."""
    from components.registry.versions import list_versions
    from components.shared.machine.tracking import errors_in_words, tracking_client

    logging.getLogger().setLevel(logging.WARNING)
    versions = list_versions(model_name)
    for version in versions:
        if as_of == version.version or as_of in version.aliases:
            return version.tags, f"version {version.version} of {model_name}"
    client = tracking_client()
    with errors_in_words():
        everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
        quoted = as_of.replace("'", "")
        found = [
            *client.search_runs(everywhere, f"attributes.run_id = '{quoted}'"),
            *client.search_runs(everywhere, f"attributes.run_name = '{quoted}'"),
        ]
    if not found:
        has = ", ".join(version.version for version in versions) or "none"
        raise UserError(
            f"AS_OF={as_of} is no version of {model_name} (it has {has}), no alias, run, data "
            "fingerprint, snapshot or time as 2026-11-21T18:00"
        )
    return dict(found[0].data.tags), f"run {found[0].info.run_name}"


def _splits(moment: Moment) -> Path | None:
    """The feature store's file with split and copies of each review of a version."""
    from components.shared.machine.feature_store import data_dir, training_sets_dir

    if not moment.training_set:
        return None
    file = training_sets_dir() / f"{moment.training_set}.parquet"
    # Where a former release kept them, which left them there: `make migrate-features` moves them.
    former = data_dir() / moment.training_set / "review_labels.parquet"
    for found in (file, former):
        if found.is_file():
            return found
    print(f"the splits of {moment.said} are gone: {file} is missing", file=sys.stderr)
    return None


def _training_set(tags: dict[str, str]) -> str:
    """Under which name the feature store remembers the training set of a version or run.

    Up to release 1 the name of the feature service ended in it.
    """
    return tags.get("training_set", "")[:20] or tags.get("feature_service", "").rpartition("_")[2]


def _named(query: str) -> str:
    """The SQL of a named query, or the query itself; `UserError` for a name that there is not."""
    named = named_queries()
    if re.fullmatch(r"[\w-]+", query.strip()) and query.strip() not in named:
        raise UserError(f"there is no query called {query.strip()}; `list` names those there are")
    return named.get(query.strip(), ("", query))[1]


def _list_queries() -> None:
    named = named_queries()
    width = max(map(len, named))
    for name, (about, _) in named.items():
        print(f"{name:{width}}  {about}")


def _print(answer: Answer, limits: Limits) -> None:
    """An answer as a table as wide as the terminal; control characters are spelled out."""
    import duckdb

    width = shutil.get_terminal_size((120, 40)).columns
    duckdb.from_arrow(answer.table).show(
        max_width=width, max_rows=limits.rows, max_col_width=max(20, width // 3)
    )
    rows = answer.table.num_rows
    if answer.more:
        print(f"the first {rows:,} rows; there are more: ROWS= takes a limit, OUT= a file")
    else:
        print(f"{rows:,} row{'s' * (rows != 1)}")


def _prompt(moment: Moment, tables: Tables, limits: Limits, history: Path) -> None:
    """Answer queries until the end of the input; a query ends with a semicolon."""
    _remember(history)
    data = moment.data
    print(
        f"{moment.said}: {data.rows:,} reviews of {data.source}, ingested "
        f"{data.ingested:%Y-%m-%d %H:%M} UTC\n"
        "End a query with ; or type the name of a named one; `list` lists them, Ctrl-D leaves."
    )
    lines: list[str] = []
    while True:
        try:
            line = input(_GOES_ON if lines else _PROMPT)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            lines = []
            continue
        if not lines and line.strip() in ("list", "list;"):
            _list_queries()
            continue
        lines += [line] if line.strip() else []
        is_name = len(lines) == 1 and line.strip().removesuffix(";") in named_queries()
        if lines and (is_name or line.rstrip().endswith(";")):
            try:
                _print(
                    ask(_named("\n".join(lines).strip().removesuffix(";")), tables, limits), limits
                )
            except UserError as error:
                print(f"error: {error}")
            except KeyboardInterrupt:
                print("stopped")
            lines = []


def _remember(history: Path) -> None:
    """Keep what is typed from one prompt to the next, where there is a keyboard."""
    if not sys.stdin.isatty():
        return
    import atexit
    import contextlib
    import readline

    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(1_000)

    def keep() -> None:
        with contextlib.suppress(OSError):
            readline.write_history_file(history)

    atexit.register(keep)


if __name__ == "__main__":
    main()
