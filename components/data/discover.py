"""What a folder of files holds, as ingest would read it: formats, columns, types, and what to pass.

The files are read by ingest's own readers, whole and in batches.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components.data.batches import Rejected
from components.data.headers import ALIASES, Columns, Layout, header_key, layout_of, likely_column
from components.data.readers import read_batches
from components.data.sources import Source, find_sources
from components.shared.machine.errors import UserError
from components.shared.records.labels import MOST_CLASSES, SENTIMENTS, LabelSet

_KINDS = {
    "whole number": r"^[+-]?[0-9]{1,18}$",
    "number": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    "yes or no": r"(?i)^(true|false|yes|no)$",
    "time": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$",
}
"""Kinds of column, the narrowest first, and what all values of one look like."""

_TEXT, _EMPTY, _NESTED = "text", "empty", "nested"
_REVIEW_CHARACTERS = 20
"""Mean length from which a text may be a review's."""


@dataclass
class Column:
    """A column, counted batch by batch."""

    name: str
    kinds: list[str] = field(default_factory=lambda: list(_KINDS))  # that all values so far are of
    rows: int = 0
    missing: int = 0  # blank values
    characters: int = 0
    values: list[str] = field(default_factory=list)  # the first distinct ones, one more than kept
    nested: bool = False  # lists or structs, which ingest does not read
    read_as: str = ""  # the field that ingest reads from it

    def add(self, texts: pa.Array, rows: int) -> None:
        """Count the values of a batch of `rows`, in which JSON objects may lack the column."""
        trimmed = pc.utf8_trim_whitespace(texts.drop_null())
        there = trimmed.filter(pc.not_equal(trimmed, ""))
        self.rows += rows
        self.missing += rows - len(there)
        self.characters += pc.sum(pc.utf8_length(there)).as_py() or 0
        self.kinds = [
            kind
            for kind in self.kinds
            if pc.all(pc.match_substring_regex(there, _KINDS[kind]), min_count=0).as_py()
        ]
        if len(self.values) <= MOST_CLASSES:
            new = dict.fromkeys([*self.values, *pc.unique(there).to_pylist()])
            self.values = list(new)[: MOST_CLASSES + 1]

    @property
    def kind(self) -> str:
        """What its values are, in words."""
        if self.nested:
            return _NESTED
        if self.missing == self.rows:
            return _EMPTY
        return self.kinds[0] if self.kinds else _TEXT

    @property
    def mean_characters(self) -> float:
        """Mean length of what is not missing."""
        return self.characters / max(1, self.rows - self.missing)

    @property
    def is_class(self) -> bool:
        """Whether it may name classes: several values, each more than once."""
        return 2 <= len(self.values) <= min(MOST_CLASSES, (self.rows - self.missing) // 2)

    @property
    def is_stars(self) -> bool:
        """Whether it may be a rating of 1 to 5."""
        return self.is_class and {value.removesuffix(".0") for value in self.values} <= set("12345")


@dataclass
class FoundFile:
    """What one file holds."""

    name: str
    problem: str = ""  # why it cannot be read at all; the rest is empty then
    format: str = ""
    encoding: str = ""
    separator: str = ""
    headless: bool = False  # whether the first line seems to be data
    rows: int = 0
    unreadable: int = 0
    first_unreadable: Rejected | None = None
    columns: list[Column] = field(default_factory=list)
    advice: str = ""  # what hinders ingest, in words
    columns_option: str = ""  # what to pass as COLUMNS
    labels_option: str = ""  # what to pass as LABELS


def discover(data_uri: str, columns: str = "", labels: str = "") -> list[FoundFile]:
    """What each file of a folder, a pattern or a URI holds; of a local folder, those below it too.

    Args:
        data_uri: As `find_sources` takes it.
        columns: As ingest takes it; what is missing is proposed.
        labels: As ingest takes it.

    Raises:
        UserError: If nothing is there, or an option is wrong.
    """
    label_set = LabelSet.parse(labels)
    wanted = Columns.parse(columns, label_set)
    found = []
    for name, source in _sources(data_uri):
        file = FoundFile(name, source) if isinstance(source, str) else _read(source)
        if file.columns:
            _advise(file, wanted, columns, labels, label_set)
        found.append(file)
    return found


@dataclass(frozen=True)
class _EveryColumn(Columns):
    """Reads all columns, under their own names."""

    def layout(self, names: Sequence[str], source: str) -> Layout:
        positions: dict[str, int] = {}
        for place, name in enumerate(names):
            positions[name if name not in positions else f"{name} ({place + 1})"] = place
        return Layout(tuple(names), positions)


def _sources(data_uri: str) -> Iterator[tuple[str, Source | str]]:
    """Name and source of each file, or why it cannot be read."""
    folder = Path(data_uri)
    if not folder.is_dir():
        yield from ((source.name, source) for source in find_sources(data_uri))
        return
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(p[0] in "._" for p in file.relative_to(folder).parts)
    ]
    if not files:
        raise UserError(f"{folder} holds no files; name the folder that does")
    for file in files:
        try:
            (source,) = find_sources(str(file.absolute()))
            yield source.name, source
        except UserError as error:
            yield str(file), str(error)


def _read(source: Source) -> FoundFile:
    """Read a file to its end and count."""
    file = FoundFile(source.name, format=source.format)
    by_name: dict[str, Column] = {}
    try:
        for layout, batch in read_batches(source, _EveryColumn()):
            file.encoding, file.separator = layout.encoding, layout.separator
            for name in (*layout.positions, *batch.columns):
                if name not in by_name:
                    by_name[name] = Column(name, rows=file.rows, missing=file.rows)
            readable = len(batch.lines)
            for name, column in by_name.items():
                column.nested = file.format == "parquet" and name not in batch.columns
                column.add(batch.columns.get(name, pa.nulls(readable, pa.string())), readable)
            file.rows += readable
            file.unreadable += len(batch.rejected)
            file.first_unreadable = file.first_unreadable or next(iter(batch.rejected), None)
    except UserError as error:
        return FoundFile(source.name, str(error))
    file.columns = list(by_name.values())
    file.headless = source.format in ("csv", "tsv") and any(
        re.match(pattern, column.name.strip())
        for column in file.columns
        for pattern in (_KINDS["number"], _KINDS["time"], r"^.{60}")
    )
    return file


def _advise(
    file: FoundFile, wanted: Columns, columns: str, labels: str, label_set: LabelSet
) -> None:
    """Say which column is read as which field, and what to pass where one is not found."""
    names = [column.name for column in file.columns]
    by_name = {ALIASES.get(header_key(name)): place for place, name in enumerate(names)}
    positions = {t: place for t, place in by_name.items() if t and t not in wanted.named}
    proposed = _proposed(file, positions, wanted)
    options = [f"{target}={'_'.join(column.name.split())}" for target, column in proposed.items()]
    file.columns_option = " ".join(filter(None, [columns, *options]))
    try:
        completed = Columns.parse(file.columns_option, label_set)
        positions = layout_of(names, file.name, completed).positions
    except UserError as error:
        file.advice, file.columns_option = str(error), columns
    for target, place in positions.items():
        file.columns[place].read_as = target
    file.labels_option = labels
    label = next((column for column in file.columns if column.read_as == "sentiment"), None)
    if label and label_set == SENTIMENTS and label.is_class:
        words = {value.casefold() for value in label.values}
        if not words <= label_set.words.keys() or words == {"0", "1"}:
            file.labels_option = " ".join(
                value if re.fullmatch(r"[^\W\d][\w-]*", value) else f"NAME={value}"
                for value in sorted(label.values)
            )


def _proposed(file: FoundFile, positions: dict[str, int], wanted: Columns) -> dict[str, Column]:
    """Columns for the fields that ingest cannot do without: by name, or else by what they hold."""
    free = [c for place, c in enumerate(file.columns) if place not in positions.values()]
    proposed: dict[str, Column] = {}
    if "review_body" not in positions and "review_body" not in wanted.named:
        texts = [c for c in free if c.kind == _TEXT and c.mean_characters >= _REVIEW_CHARACTERS]
        if texts:
            near = likely_column("review_body", [column.name for column in texts])
            longest = max(texts, key=lambda column: column.mean_characters)
            named = [c for c in texts if header_key(c.name) == header_key(near)]
            proposed["review_body"] = (named or [longest])[0]
    has_label = {"rating", "sentiment"} & (positions.keys() | wanted.named.keys())
    if wanted.label_fields and not has_label:
        free = [c for c in free if c not in proposed.values() and c.is_class]
        for target in wanted.label_fields:
            fitting = [c for c in free if target == "sentiment" or c.is_stars]
            near = likely_column(target, [column.name for column in fitting])
            named = [c for c in fitting if near and header_key(c.name) == header_key(near)]
            if named or (target == "rating" and len(fitting) == 1):
                proposed[target] = (named or fitting)[0]
                break
    return proposed
