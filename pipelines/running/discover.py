"""Command line: say what a file or a folder of files holds, and how to read it."""

import argparse
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from components.data.discover import Column, FoundFile, discover
from components.shared.machine.errors import UserError, exit_in_words

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|"}
_FORMATS = {"csv": "CSV", "tsv": "TSV", "jsonl": "JSON Lines", "parquet": "Parquet"}
_VALUES = 6
_HEAD = ("column", "type", "missing", "read as", "values")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what each file holds."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.discover", description=__doc__
    )
    parser.add_argument("data", help="file, folder, pattern or URI")
    parser.add_argument("--columns", default="", help="as `make run` takes COLUMNS")
    parser.add_argument("--labels", default="", help="as `make run` takes LABELS")
    options = parser.parse_args(arguments)

    def run() -> None:
        if not options.data.strip() or options.data == "sample":
            raise UserError("say what to look at: make discover DATA=FOLDER")
        for file in discover(options.data, options.columns, options.labels):
            print("\n".join(_described(file)), end="\n\n")

    exit_in_words(run)


def _described(file: FoundFile) -> list[str]:
    """Lines on a file."""
    name = _shown(file.name)
    if file.problem:
        return [f"{name}: not readable", f"  {_shown(file.problem)}"]
    facts = [_FORMATS[file.format]]
    if file.separator:
        facts.append(f"separated by {_SEPARATORS.get(file.separator, file.separator)}")
        facts.append("no header, it seems" if file.headless else "with a header")
    facts += [file.encoding] if file.encoding else []
    facts.append(f"{file.rows:,} row{'s' * (file.rows != 1)}")
    lines = [f"{name}: {', '.join(facts)}"]
    if file.first_unreadable:
        first = file.first_unreadable
        where = f"the first, line {first.line}: {first.reason}"
        lines.append(f"  {file.unreadable:,} more cannot be read; {where}")
    table = [_HEAD, *(_row(column) for column in file.columns)]
    widths = [max(len(row[place]) for row in table) for place in range(len(_HEAD))]
    across = shutil.get_terminal_size((120, 40)).columns
    for row in table:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {'  '.join(cells)}".rstrip()[:across])
    if file.headless:
        lines.append("  give the file a first line with the names of its columns")
    elif file.advice:
        lines.append(f"  {_shown(file.advice)}")
    else:
        lines.append(f"  {_command(file)}")
        if "NAME=" in file.labels_option:
            lines.append("  say for each value which class it is, in place of NAME")
    return lines


def _row(column: Column) -> tuple[str, ...]:
    missing = f"{column.missing / column.rows:.1%}" if column.missing and not column.nested else "-"
    return (
        _shown(column.name)[:40],
        column.kind,
        missing,
        column.read_as or "-",
        ", ".join(_shown(value)[:40] for value in column.values[:_VALUES])
        + (", ..." if len(column.values) > _VALUES else ""),
    )


def _command(file: FoundFile) -> str:
    """The line that reads the file."""
    given = {"COLUMNS": file.columns_option, "LABELS": file.labels_option}
    data = str(Path(file.name)) if "://" not in file.name else file.name
    words = [f"DATA={shlex.quote(data)}", *(f"{k}={shlex.quote(v)}" for k, v in given.items() if v)]
    return f"make run {' '.join(words)}"


def _shown(text: str) -> str:
    """A text with what would move the cursor or turn the line around spelled out."""
    return repr(text)[1:-1].replace("\\\\", "\\") if not text.isprintable() else text


if __name__ == "__main__":
    main()
