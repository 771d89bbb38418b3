"""Which column of a source is which field of the review record."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.shared.machine.errors import UserError
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

_LISTED = 20


@dataclass(frozen=True)
class Layout:
    """All column names of a source, and the position of each field among them."""

    names: tuple[str, ...]
    positions: dict[str, int]

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that are not a field."""
        used = set(self.positions.values())
        return [name for position, name in enumerate(self.names) if position not in used]


def header_key(name: str) -> str:
    """A header name in the form in which `ALIASES` lists it: "Review Text" is "review_text"."""
    return re.sub(r"[\s_]+", "_", name.strip().casefold())


def layout_of(names: Sequence[str], source: str, *, labels_required: bool) -> Layout:
    """Find the fields of the review record among a source's column names.

    Columns that are not a field, such as the unnamed row number of the Kaggle file, are ignored.

    Raises:
        UserError: If the review text is not among the columns, if a field is there twice, or if a
            label is required and missing.
    """
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        field = ALIASES.get(header_key(name))
        if field is None:
            continue
        if field in positions:
            raise UserError(
                f"{source} has two columns for {field}: {_quoted(names[positions[field]])} and "
                f"{_quoted(name)}; keep one of them"
            )
        positions[field] = position
    if "review_body" not in positions:
        raise UserError(
            f"{source} has no column 'Review Text' (or 'review_body'), only {_listed(names)}; "
            "rename the column that holds the reviews"
        )
    if labels_required and not positions.keys() & {"rating", "sentiment"}:
        raise UserError(
            f"{source} has no column 'Rating' (or 'rating', 'sentiment') to learn from, only "
            f"{_listed(names)}; rename the column that holds the ratings"
        )
    return Layout(tuple(names), positions)


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_quoted(name) for name in names[:_LISTED])
    hidden = len(names) - _LISTED
    return f"{shown} and {hidden} more" if hidden > 0 else shown
