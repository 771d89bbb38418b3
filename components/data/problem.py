"""Which column of any table is the text and which the label, and what the classes are.

What is found goes on as `columns` and `labels`, in the form in which a user would write them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.data.headers import ALIASES, LIKELY, Columns, header_key
from components.data.readers import read_batches
from components.data.sources import find_sources
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.labels import MOST_CLASSES, SENTIMENTS, LabelSet

_ALL_OF_THE_FIRST, _THEN_EVERY = 20_000, 20
"""Rows that are looked at: of long tables, not all."""

_LEAST_WORDS, _LEAST_DISTINCT = 3.0, 0.5
"""A text column has so many words on average, and so many values that occur once or twice."""

_MOSTLY = 0.8
"""Share of the rows whose value has to be a rating or a sentiment as usual, to be read as such."""

_SPACE = r"\s+"
_WHOLE = re.compile(r"(-?\d+)\.0+")


@dataclass(frozen=True)
class Problem:
    """What is to be learned from a table."""

    columns: str  # as `Columns.parse` reads it
    labels: str  # as `LabelSet.parse` reads it
    text_column: str
    label_column: str
    classes: Mapping[str, int]  # rows looked at by class name
    texts: tuple[str, ...]  # all columns that look like texts, the longest first


def find_problem(
    data_uri: str, problem: str | Path, *, columns: str = "", labels: str = ""
) -> Problem:
    """Find text and label column and the classes of a table, and write them as JSON.

    What `columns` and `labels` say already is taken as given.

    Raises:
        UserError: If no column looks like texts, none or several look like labels, or the label is
            continuous.
    """
    given = Columns.parse(columns, LabelSet.parse(labels), labels_required=False)
    values = _read(data_uri, given)
    text, texts = _text_column(values, given, data_uri)
    label, field = _label_column(values, given, text, data_uri)
    counts = Counter(value for value in values[label] if value)
    found = labels or _labels(counts, label, field)
    named = dict(given.named)
    if header_key(text) not in ALIASES or ALIASES[header_key(text)] != "review_body":
        named.setdefault("review_body", text)
    if found != str(SENTIMENTS) or ALIASES.get(header_key(label)) != field:
        named.setdefault(field, label)
    for other in {"rating", "sentiment"} - {field}:
        if field == "sentiment" and any(ALIASES.get(header_key(name)) == other for name in values):
            named.setdefault(other, "")
    written = " ".join(f"{f}={re.sub(_SPACE, '_', c.strip())}" for f, c in named.items())
    classes = LabelSet.parse(found)
    rows = Counter(_class_of(value, classes, field) for value in counts.elements())
    result = Problem(
        *(written, found, text, label),
        classes={name: rows[name] for name in classes.names},
        texts=tuple(texts),
    )
    write_json(problem, asdict(result))
    return result


def _read(data_uri: str, given: Columns) -> dict[str, list[str]]:
    """Values of each column as texts; '' where one is missing."""
    values: dict[str, list[str]] = {}
    rows = 0
    for row in _rows(data_uri, Columns(given.named, (), text_required=False)):
        for name in row:
            values.setdefault(name, [""] * rows)
        for name, column in values.items():
            column.append(_as_text(row.get(name)))
        rows += 1
    if not rows:
        raise UserError(f"{data_uri} holds no rows; give a table with texts and labels")
    return values


def _rows(data_uri: str, columns: Columns) -> Iterator[dict[str, Any]]:
    seen = 0
    for source in find_sources(data_uri):
        for _, batch in read_batches(source, columns):
            for place in range(len(batch.lines)):
                seen += 1
                if seen <= _ALL_OF_THE_FIRST or seen % _THEN_EVERY == 0:
                    yield json.loads(batch.raw(place))


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None or value != value else str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _text_column(
    values: Mapping[str, Sequence[str]], given: Columns, source: str
) -> tuple[str, list[str]]:
    """The column to learn from, and all that look like texts, the longest first."""
    words = {name: _mean_words(column) for name, column in values.items()}
    texts = [name for name, column in values.items() if words[name] and _distinct(column)]
    texts.sort(key=lambda name: -words[name])
    if known := _given(values, given, "review_body"):
        return known, texts
    if not texts:
        raise UserError(
            f"{source} has no text column: in none of {_listed(values)} do the values have "
            f"{_LEAST_WORDS:g} words on average and differ from each other; name one, as in "
            "COLUMNS='review_body=NAME'"
        )
    return texts[0], texts


def _mean_words(column: Sequence[str]) -> float:
    """Words of a value on average; 0 where they are too few for texts."""
    filled = [len(value.split()) for value in column if value]
    mean = sum(filled) / len(filled) if filled else 0.0
    return mean if mean >= _LEAST_WORDS else 0.0


def _distinct(column: Sequence[str]) -> bool:
    filled = [value for value in column if value]
    return len(set(filled)) >= _LEAST_DISTINCT * len(filled)


def _label_column(
    values: Mapping[str, Sequence[str]], given: Columns, text: str, source: str
) -> tuple[str, str]:
    """The column of the labels, and the field that it is read into."""
    for field in ("sentiment", "rating"):
        known = _given(values, given, field)
        if known and (field in given.named or _is_usual(Counter(values[known]), field)):
            _check_classes(known, values[known], source)
            return known, field
    others = [name for name in values if name != text]
    likely = [
        name
        for word in LIKELY["sentiment"] + LIKELY["rating"]
        for name in others
        if header_key(name) == word
    ]
    if likely:
        _check_classes(likely[0], values[likely[0]], source)
        return likely[0], "sentiment"
    able = [name for name in others if 2 <= len(set(values[name]) - {""}) <= _most(values[name])]
    if len(able) == 1:
        return able[0], "sentiment"
    if able:
        raise UserError(
            f"{source} has several columns that may be the label, {_listed(able)}; say which, as "
            f"in COLUMNS='sentiment={able[0]}'"
        )
    continuous = next((name for name in others if _is_continuous(values[name])), None)
    if continuous:
        _check_classes(continuous, values[continuous], source)
    raise UserError(
        f"{source} has no label column: none of {_listed(others)} holds 2 to {MOST_CLASSES} "
        "classes; add one"
    )


def _most(column: Sequence[str]) -> int:
    """Classes that a column of so many rows may have: each occurs twice on average."""
    return min(MOST_CLASSES, sum(map(bool, column)) // 2)


def _given(values: Mapping[str, Sequence[str]], given: Columns, field: str) -> str:
    """The column that the user named for a field, or whose name is known to mean it."""
    if field in given.named:
        key = header_key(given.named[field])
        return next((name for name in values if key and header_key(name) == key), "")
    return next((name for name in values if ALIASES.get(header_key(name)) == field), "")


def _check_classes(name: str, column: Sequence[str], source: str) -> None:
    found = set(column) - {""}
    if _is_continuous(column):
        raise UserError(
            f"column {name!r} of {source} holds {len(found)} different numbers: this tells classes "
            "apart and predicts no amounts; cut the numbers into classes, or name another column, "
            "as in COLUMNS='sentiment=NAME'"
        )
    if not 2 <= len(found) <= MOST_CLASSES:
        raise UserError(
            f"column {name!r} of {source} holds {len(found)} classes, and 2 to {MOST_CLASSES} can "
            "be told apart; name another column, as in COLUMNS='sentiment=NAME'"
        )


def _is_continuous(column: Sequence[str]) -> bool:
    """Whether a column holds numbers, and more different ones than there may be classes."""
    found = set(column) - {""}
    return len(found) > MOST_CLASSES and all(map(_is_number, found))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _labels(counts: Mapping[str, int], label: str, field: str) -> str:
    """The label set of a column's values."""
    if ALIASES.get(header_key(label)) == field and _is_usual(counts, field):
        return str(SENTIMENTS)
    found = {value.casefold() for value in counts}
    numbers = all(map(_is_number, found))
    parts = []
    for value in sorted(found, key=float if numbers else None):
        if re.search(r"[\s,=]", value):
            raise UserError(
                f"column {label!r} holds the class {value[:60]!r}, which LABELS cannot name; write "
                "it without white space, commas and ="
            )
        name = re.sub(r"[^\w-]", "_", value)[:40]
        if numbers:
            name = f"class_{name.replace('-', 'minus')}"[:40]
        parts.append(value if name == value else f"{name.lstrip('-') or 'class'}={value}")
    return " ".join(parts)


def _is_usual(counts: Mapping[str, int], field: str) -> bool:
    """Whether most values are ratings or sentiments; what differs is dirt that ingest rejects."""
    filled = {value: rows for value, rows in counts.items() if value}
    usual = sum(rows for value, rows in filled.items() if _class_of(value, SENTIMENTS, field))
    return bool(filled) and usual >= _MOSTLY * sum(filled.values())


def _class_of(value: str, labels: LabelSet, field: str) -> str:
    """The name of the class that a value is of; '' if it is of none."""
    if field == "rating" and value.isdecimal():
        number = labels.of_rating.get(int(value))
    else:
        number = labels.words.get(value.casefold())
    return "" if number is None else labels.names[number - labels.values[0]]


def _listed(names: Any) -> str:
    shown = [repr(name[:60]) for name in names]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")
