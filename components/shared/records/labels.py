"""The label set: names of the classes, and what the data call each of them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

STARS = range(1, 6)
MOST_CLASSES = 20

_METADATA = b"labels"
_NAME = re.compile(r"\w[\w-]{0,39}")


@dataclass(frozen=True)
class LabelSet:
    """The classes in the order of their index, and the words by which a label column names them.

    Attributes:
        names: Class names; a model answers with them.
        given: For each class what else the data call it, in lower case: "4", "5", "pos".
        values: What the column `sentiment` holds for each class.
    """

    names: tuple[str, ...]
    given: tuple[tuple[str, ...], ...]
    values: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "LabelSet":
        """A label set from its text: `negative=1,2 neutral=3 positive=4,5`, or names alone.

        Empty or `sentiments` is the default: negative, neutral and positive, by ratings of 1 to 5
        or the values -1, 0 and 1.

        Raises:
            UserError: If there are fewer than 2 classes or more than `MOST_CLASSES`, a name is not
                a word, or two classes share a name or a value.
        """
        if text.strip() in ("", "sentiments"):
            return SENTIMENTS
        names, given = [], []
        for part in text.split():
            name, _, values = part.partition("=")
            if not _NAME.fullmatch(name):
                raise UserError(f"labels has the class name {name!r}; use letters, digits, - and _")
            names.append(name)
            given.append(tuple(value.casefold() for value in values.split(",") if value))
        if not 2 <= len(names) <= MOST_CLASSES:
            raise UserError(
                f"labels {text!r} names {len(names)} class(es); name 2 to {MOST_CLASSES}, as in "
                "'negative=1,2 positive=4,5'"
            )
        words = [word for name, more in zip(names, given, strict=True) for word in {name, *more}]
        words = [word.casefold() for word in words]
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise UserError(f"labels {text!r} gives {twice[0]!r} to two classes; give it to one")
        return cls(tuple(names), tuple(given), tuple(range(len(names))))

    @classmethod
    def of(cls, schema: "pa.Schema") -> "LabelSet":
        """The label set of a table, from its schema; the default where none was written."""
        return cls.parse((schema.metadata or {}).get(_METADATA, b"").decode())

    def on(self, schema: "pa.Schema") -> "pa.Schema":
        """The schema with this label set written on it, for `of` to read."""
        return schema if self == SENTIMENTS else schema.with_metadata({_METADATA: str(self)})

    def __str__(self) -> str:
        """The text that `parse` reads."""
        if self == SENTIMENTS:
            return "sentiments"
        parts = zip(self.names, self.given, strict=True)
        return " ".join(name + ("=" + ",".join(more) if more else "") for name, more in parts)

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)

    @cached_property
    def words(self) -> dict[str, int]:
        """Value of each word that a label column may hold, in lower case."""
        words: dict[str, int] = {}
        for name, more, value in zip(self.names, self.given, self.values, strict=True):
            for word in (name.casefold(), *more):
                words[word] = value
                if re.fullmatch(r"-?[0-9]+", word):
                    words |= {f"{word}.0": value, f"+{word}": value}
        return words

    @cached_property
    def of_rating(self) -> dict[int, int]:
        """Value by stars: empty where the classes are not called by numbers of stars alone."""
        called = {
            word: value
            for name, more, value in zip(self.names, self.given, self.values, strict=True)
            for word in more or (name,)
        }
        stars = {str(star): star for star in STARS}
        if self == SENTIMENTS:
            return {star: (star > 3) - (star < 3) for star in STARS}
        return {stars[w]: v for w, v in called.items()} if called.keys() <= stars.keys() else {}

    def index_of(self, sentiments: "NDArray[np.integer]") -> "NDArray[np.int64]":
        """Class index [n] of values of the column `sentiment` [n]."""
        return sentiments.astype("int64") - self.values[0]

    @property
    def expected(self) -> str:
        """What a label column may hold, in words."""
        words = list(dict.fromkeys([*(w for more in self.given for w in more), *self.names]))
        return f"{', '.join(words[:-1])} or {words[-1]}"

    def counted(self, counts: Iterable[int]) -> Mapping[str, int]:
        """Counts [classes] by name."""
        return {name: int(n) for name, n in zip(self.names, counts, strict=True)}


SENTIMENTS = LabelSet(("negative", "neutral", "positive"), (("-1",), ("0",), ("1",)), (-1, 0, 1))
"""The default: 1 and 2 stars are negative, 3 neutral, 4 and 5 positive."""


def labels_of_file(path: str | Path) -> LabelSet:
    """The label set of a Parquet file; the default where the file names none.

    Raises:
        UserError: If the file is missing or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return LabelSet.of(pq.read_schema(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the step that writes it first") from None
    except (pa.ArrowInvalid, ValueError) as error:
        raise UserError(f"{path} is not a Parquet file: {error}") from None
