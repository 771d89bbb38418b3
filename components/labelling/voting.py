"""Labelling functions: how they are written, found and asked.

A labelling function gets all reviews at once, as an Arrow table, and returns for each the name of a
class, or null where it abstains. `functions.py` shows how they look. The table has the columns of
the review record but for rating and sentiment, and two more: `text`, which is title and body as the
model reads them, and `agreed` (see `models_agree` there).
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet

Column = pa.Array | pa.ChunkedArray

ABSTAIN = -1


@dataclass(frozen=True)
class LabellingFunction:
    """A function that votes, with the words that pages show of it."""

    name: str
    about: str  # first line of its docstring
    file: str
    vote: Callable[[pa.Table], Column]


_registered: dict[str, LabellingFunction] = {}


def labelling_function(vote: Callable[[pa.Table], Column]) -> Callable[[pa.Table], Column]:
    """Register a function under its own name; it stays callable as it is.

    Raises:
        UserError: If another file has a function of this name.
    """
    file = inspect.getfile(vote)
    about = (inspect.getdoc(vote) or "").split("\n")[0]
    other = _registered.get(vote.__name__)
    if other is not None and other.file != file:
        raise UserError(
            f"{file} has a labelling function {vote.__name__}, and so has {other.file}; "
            "rename one of them"
        )
    _registered[vote.__name__] = LabellingFunction(vote.__name__, about, file, vote)
    return vote


def matches(column: Column, pattern: str) -> Column:
    """Whether a regular expression (RE2) is found in each text, in capitals or not; null is no."""
    return pc.fill_null(pc.match_substring_regex(column, pattern, ignore_case=True), False)


def counted(column: Column, pattern: str) -> Column:
    """How often a regular expression (RE2) is found in each text, in capitals or not."""
    return pc.fill_null(pc.count_substring_regex(column, pattern, ignore_case=True), 0)


def votes(where: Column, name: str) -> Column:
    """A class name where a condition holds, null elsewhere."""
    return pc.if_else(where, name, pa.scalar(None, pa.string()))


def all_functions() -> list[LabellingFunction]:
    """Those that come with the project, and one's own.

    Raises:
        UserError: If a file of one's own cannot be read.
    """
    importlib.import_module("components.labelling.functions")
    own = importlib.import_module("components.labelling.own")
    for module in pkgutil.iter_modules(own.__path__, own.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"labelling functions {Path(*module.name.split('.'))}.py cannot be read "
                f"({_said(error)}); correct the file, or take it away"
            ) from error
    return list(_registered.values())


def class_of(name: str, labels: LabelSet) -> int | None:
    """Index of the class that a vote means; None for one that this label set does not have.

    A name of the label set is that class. Where no class is called so, `negative` is the first
    class, `positive` the last, and `neutral` the one in the middle if there is one.
    """
    if name in labels.names:
        return labels.names.index(name)
    middle = len(labels) // 2 if len(labels) % 2 else None
    return {"negative": 0, "neutral": middle, "positive": len(labels) - 1}.get(name)


def label_matrix(
    reviews: pa.Table, functions: list[LabellingFunction], labels: LabelSet
) -> NDArray[np.int64]:
    """Class index that each function votes for each review [n, functions], or `ABSTAIN`.

    Raises:
        UserError: If a function raises, or returns something else than n names of classes.
    """
    made = np.full((reviews.num_rows, len(functions)), ABSTAIN)
    for place, function in enumerate(functions):
        called = f"labelling function {function.name} of {function.file}"
        try:
            given = function.vote(reviews)
            if isinstance(given, pa.ChunkedArray):
                given = given.combine_chunks()
            names = given.cast(pa.string()).dictionary_encode()
        except Exception as error:
            raise UserError(
                f"{called} failed ({_said(error)}); correct it, or take it away"
            ) from error
        if len(names) != reviews.num_rows:
            raise UserError(
                f"{called} returned {len(names)} votes for {reviews.num_rows} reviews; return one "
                "for each, null to abstain"
            )
        meant = [class_of(name, labels) for name in names.dictionary.to_pylist()]
        for name, index in zip(names.dictionary.to_pylist(), meant, strict=True):
            if index is None and name != "neutral":
                raise UserError(
                    f"{called} votes {name!r}, which is no class; the classes are "
                    f"{', '.join(labels.names)}"
                )
        values = np.array([ABSTAIN if index is None else index for index in meant] + [ABSTAIN])
        made[:, place] = values[pc.fill_null(names.indices, len(meant)).to_numpy()]
    return made


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
