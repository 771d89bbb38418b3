"""Facets: what reviews are grouped by, and how many rows of each kind a facet has.

A facet is a column of the prepared reviews, or a file of `derived/`: an SQL expression over them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bias.kinds import Kinds
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.reviews import WEAK

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COLUMNS = ("product_category", "department", "division", "clothing_id")
DERIVED = Path(__file__).parent / "derived"
NOT_GIVEN = "not given"
MOST_GROUPS = 30
"""Groups of a facet that are shown by themselves; smaller ones are pooled."""

DATA, BALANCED, PREDICTIONS = STAGES = ("data", "balanced", "predictions")
"""All rows with a label that is no guess; those of training as often as it shows them, guessed ones
too; the test rows as predicted."""


@dataclass(frozen=True)
class Facet:
    """A facet and the other one within whose groups CDD compares; empty if there is none."""

    name: str
    given: str

    @property
    def words(self) -> str:
        """The name as it stands in a sentence."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class FacetRows:
    """The rows of a facet by stage; none, and a note why, where there is nothing to compare.

    `groups` has the largest first; the smallest are pooled as the last.
    """

    facet: Facet
    groups: tuple[str, ...]
    stages: Mapping[str, Kinds]
    note: str = ""


def parse_facets(text: str) -> tuple[Facet, ...]:
    """Facets from `product_category department|age age`: after the bar what CDD is conditioned on.

    Without a bar that is the last other facet.

    Raises:
        UserError: If there is none, or one is not known.
    """
    known = (*COLUMNS, *sorted(file.stem for file in DERIVED.glob("*.sql")))
    pairs = [word.partition("|")[::2] for word in re.split(r"[\s,]+", text.strip()) if word]
    named = [name for pair in pairs for name in pair if name]
    if unknown := next((name for name in named if name not in known), ""):
        raise UserError(f"facets names {unknown!r}; name some of {', '.join(known)}")
    if not pairs:
        raise UserError(f"facets names none; name some of {', '.join(known)}")
    names = list(dict.fromkeys(name for name, _ in pairs))
    given = dict(reversed(pairs))
    return tuple(
        Facet(name, given[name] or next((one for one in reversed(names) if one != name), ""))
        for name in names
    )


def count_rows(
    prepared: str | Path, predictions: str | Path, facets: Sequence[Facet]
) -> list[FacetRows]:
    """Count the rows of each facet by kind; the rows themselves are never held in memory.

    Args:
        prepared: Parquet of PREPARED_SCHEMA.
        predictions: Parquet of `predictions_schema`.
        facets: What to group by.

    Raises:
        UserError: If a file cannot be read, or a prediction is of no prepared review.
    """
    import duckdb
    import pyarrow.parquet as pq

    labels = labels_of_file(prepared)
    labels_of_file(predictions)
    asked = pq.read_metadata(predictions).num_rows
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    files = {"prepared": str(prepared), "predictions": str(predictions)}
    with connection:
        counted = [_counted(connection, files, facet) for facet in facets]
    found = int(counted[0]["rows"][~np.isnan(counted[0]["predicted"])].sum())
    if found != asked:
        raise UserError(
            f"{asked - found} of {asked} predictions in {predictions} are of no review in "
            f"{prepared}; the two come from different runs: evaluate again"
        )
    return [_facet_rows(facet, table, labels) for facet, table in zip(facets, counted, strict=True)]


def _counted(
    connection: "DuckDBPyConnection", files: dict[str, str], facet: Facet
) -> dict[str, NDArray[Any]]:
    """The columns that follow select, one entry a kind of row."""
    import duckdb

    stratum = _expression(facet.given) if facet.given else "''"
    query = f"""
        select {_expression(facet.name)} as facet_group, {stratum} as facet_stratum,
          sentiment, split, copies, predicted,
          label_source = $weak as guessed, count(*) as rows
        from read_parquet($prepared)
        left join (select review_id, predicted from read_parquet($predictions)) using (review_id)
        group by all
        """  # noqa: S608 - our own expressions
    try:
        table = connection.sql(query, params={**files, "weak": WEAK}).to_arrow_table()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        within = f" within {facet.given}" if facet.given else ""
        raise UserError(
            f"cannot count the rows of {files['prepared']} by {facet.name}{within}: {reason}"
        ) from error
    return {name: table[name].to_numpy() for name in table.column_names}


def _expression(facet: str) -> str:
    """The facet as SQL: a text, `NOT_GIVEN` where the row has none."""
    file = DERIVED / f"{facet}.sql"
    value = file.read_text(encoding="utf-8") if file.is_file() else f'"{facet}"'
    return f"coalesce(nullif(trim(cast((\n{value}\n) as varchar)), ''), '{NOT_GIVEN}')"


def _facet_rows(facet: Facet, table: Mapping[str, NDArray[Any]], labels: LabelSet) -> FacetRows:
    rows = table["rows"].astype(np.int64)
    groups, group = _largest(table["facet_group"], rows)
    if len(groups) < 2:
        note = f"no review has a {facet.words}"
        if groups != (NOT_GIVEN,):
            note = f"every review has the {facet.words} {groups[0]}"
        return FacetRows(facet, groups, {}, note)
    strata, stratum = _largest(table["facet_stratum"], rows)
    truth = labels.index_of(table["sentiment"])
    copies = table["copies"].astype(np.int64)
    predicted = ~np.isnan(table["predicted"])
    guess = labels.index_of(np.where(predicted, table["predicted"], labels.values[0]).astype(int))
    once = np.ones_like(rows)
    sizes = len(groups), len(strata), len(labels)

    def kinds(chosen: NDArray[np.bool_], judged: bool, weight: NDArray[np.int64]) -> Kinds:
        outcome = guess if judged else truth
        codes = np.stack([group, stratum, outcome, truth, weight], axis=1)[chosen]
        unique, place = np.unique(codes, axis=0, return_inverse=True)
        counted = np.bincount(place.ravel(), weights=rows[chosen], minlength=len(unique))
        columns = [unique[:, number] for number in range(5)]
        known = columns[3] if judged else None
        return Kinds(*sizes, *columns[:3], known, columns[4], counted.astype(np.int64))

    stages = {
        DATA: kinds(~table["guessed"].astype(bool), False, once),
        BALANCED: kinds((table["split"] == "train") & (copies > 0), False, copies),
        PREDICTIONS: kinds(predicted, True, once),
    }
    return FacetRows(facet, groups, stages)


def _largest(
    values: NDArray[Any], rows: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the groups, the largest first and the smallest pooled, and each row's index."""
    names, place = np.unique(values.astype(str), return_inverse=True)
    order = np.argsort(-np.bincount(place, weights=rows), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    kept = tuple(str(name) for name in names[order])
    if len(kept) > MOST_GROUPS + 1:
        kept = (*kept[:MOST_GROUPS], f"{len(kept) - MOST_GROUPS:,} others")
    return kept, np.minimum(rank, len(kept) - 1)[place]
