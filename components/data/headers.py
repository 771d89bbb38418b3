"""Which column of a source is which field of the review record."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.reviews import REVIEW_SCHEMA

FIELDS: tuple[str, ...] = tuple(REVIEW_SCHEMA.names)
"""The fields of the review record, in the schema's order."""

ALIASES: dict[str, str] = {
    **{name: name for name in FIELDS},
    "review_text": "review_body",
    "class_name": "product_category",
    "recommended_ind": "recommended",
    "division_name": "division",
    "department_name": "department",
}
"""Header names in lower case, words joined by underscores, and the field of each: the
record's own names, the course's (which are among them) and those of the Kaggle file."""

LIKELY: dict[str, tuple[str, ...]] = {
    "review_body": ("review_text", "text", "review", "body", "comment", "content"),
    "rating": ("rating", "stars", "score", "grade"),
    "sentiment": ("sentiment", "label", "class", "polarity", "target"),
}
"""What others call these fields: never read by guess, but named in the hint."""

_LISTED = 20
_LOOKED_AT = 200


@dataclass(frozen=True)
class Columns:
    """How to find the fields among a source's columns."""

    named: Mapping[str, str] = field(default_factory=dict)  # by field; "" leaves the field out
    label_fields: tuple[str, ...] = ("rating", "sentiment")  # one of which must be there, if any
    text_required: bool = True  # whether the review text must be there too

    @classmethod
    def parse(
        cls, text: str, labels: LabelSet = SENTIMENTS, *, labels_required: bool = True
    ) -> "Columns":
        """Read `FIELD=COLUMN FIELD=COLUMN`, such as `review_body=text rating=stars`.

        A field that is not named is found by `ALIASES`; `FIELD=` leaves it out. In a column's name
        an underscore may stand for white space.

        Raises:
            UserError: If a field does not exist or is named twice.
        """
        named: dict[str, str] = {}
        for part in text.split():
            name, equals, column = part.partition("=")
            target = ALIASES.get(header_key(name))
            if target is None or not equals:
                raise UserError(
                    f"columns has {part!r}; write FIELD=COLUMN, where FIELD is one of "
                    f"{', '.join(FIELDS)}"
                )
            if target in named:
                raise UserError(f"columns names {target} twice; name it once")
            named[target] = column
        label_fields = ("rating", "sentiment") if labels.of_rating else ("sentiment",)
        return cls(named, label_fields if labels_required else ())

    def layout(self, names: Sequence[str], source: str) -> "Layout":
        """What is read from a source with these column names, and where; see `layout_of`."""
        return layout_of(names, source, self)

    def recognised(self, names: Sequence[str]) -> int:
        """How many of these column names would be read."""
        known = ALIASES.keys() | {header_key(column) for column in self.named.values() if column}
        return sum(header_key(name) in known for name in names)


@dataclass(frozen=True)
class Layout:
    """All column names of a source, and the position of each field among them."""

    names: tuple[str, ...]
    positions: dict[str, int]
    encoding: str = ""  # of a text file, as Python calls it
    separator: str = ""  # of a delimited file

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that are not a field."""
        used = set(self.positions.values())
        return [name for position, name in enumerate(self.names) if position not in used]


def header_key(name: str) -> str:
    """A header name in the form in which `ALIASES` lists it: "Review Text" is "review_text"."""
    return re.sub(r"[\s_]+", "_", name.strip().casefold())


def layout_of(names: Sequence[str], source: str, columns: Columns | None = None) -> Layout:
    """Find the fields of the review record among a source's column names.

    Columns that are not a field, such as the unnamed row number of the Kaggle file, are ignored.

    Raises:
        UserError: If the review text is not among the columns, if a field is there twice, if a
            column that is named is missing, or if a label is required and missing.
    """
    columns = columns or Columns()
    positions = {
        target: _place_of(column, target, names, source)
        for target, column in columns.named.items()
        if column
    }
    taken = set(positions.values())
    if len(taken) < len(positions):
        raise UserError(f"columns gives one column of {source} to two fields; give it to one")
    for position, name in enumerate(names):
        target = ALIASES.get(header_key(name))
        if target is None or target in columns.named or position in taken:
            continue
        if target in positions:
            raise UserError(
                f"{source} has two columns for {target}: {_quoted(names[positions[target]])} and "
                f"{_quoted(name)}; say which to read, as in COLUMNS='{target}=NAME', or keep one"
            )
        positions[target] = position
    text = {("review_body",): "'Review Text' (or 'review_body')"}
    wanted: dict[tuple[str, ...], str] = text if columns.text_required else {}
    if columns.label_fields:
        wanted[columns.label_fields] = _accepted(columns.label_fields)
    missing = {some: said for some, said in wanted.items() if not positions.keys() & set(some)}
    if missing:
        said = " and no column ".join(missing.values())
        remedy = f"say which: COLUMNS='{' '.join(_suggestion(some, names) for some in missing)}'"
        if len(names) == 1 and re.search(r"\w[^\w\s]\w", names[0]):
            remedy = "if these are several, separate them by a comma, a semicolon, | or a tab"
        raise UserError(f"{source} has no column {said}, only {_listed(names)}; {remedy}")
    return Layout(tuple(names), positions)


def _place_of(column: str, target: str, names: Sequence[str], source: str) -> int:
    """Position of the column that a user named, by its very name or else by its key."""
    key = header_key(column)
    exact = [place for place, name in enumerate(names) if name == column]
    places = exact or [place for place, name in enumerate(names) if header_key(name) == key]
    if len(places) > 1:
        raise UserError(f"{source} has {len(places)} columns {column!r}; rename all but one")
    if not places:
        near = _nearest((key,), names)
        hint = f"did you mean COLUMNS='{target}={near}'?" if near else "name one of these"
        raise UserError(
            f"{source} has no column {column!r} to read {target} from, only {_listed(names)}; "
            + hint
        )
    return places[0]


def _accepted(label_fields: Sequence[str]) -> str:
    if "rating" in label_fields:
        return "'Rating' (or 'sentiment') to learn from"
    return "'sentiment' to learn from (these classes do not follow from ratings)"


def _suggestion(wanted: Sequence[str], names: Sequence[str]) -> str:
    """What to write for one of the wanted fields, with the nearest column if any is near."""
    for target in wanted:
        if near := likely_column(target, names):
            return f"{target}={near}"
    return f"{wanted[0]}=NAME"


def likely_column(target: str, names: Sequence[str]) -> str:
    """The column that may well hold a field, by its name, as `COLUMNS` takes it; "" if none."""
    return _nearest(LIKELY[target], names)


def _nearest(words: Sequence[str], names: Sequence[str]) -> str:
    """The column whose name is nearest to one of the words, as `COLUMNS` takes it; "" if none."""
    looked_at = [name for name in names[:_LOOKED_AT] if 0 < len(name) <= 60]
    keys = {header_key(name): name.strip() for name in reversed(looked_at)}
    for word in words:
        for key in difflib.get_close_matches(word, keys, n=1, cutoff=0.75):
            return re.sub(r"\s+", "_", keys[key])
    return ""


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_quoted(name) for name in names[:_LISTED])
    hidden = len(names) - _LISTED
    return f"{shown} and {hidden} more" if hidden > 0 else shown
