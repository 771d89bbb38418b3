"""An explanation: an answer of the model, and what each word of the text added to it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Scripts that put no space between words: Thai to Khmer, kana, Chinese characters. There every
# token is a word of its own.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


GRADIENTS = "integrated gradients"
"""How a network is explained: `components.shared.machine.attribution`."""

OCCLUSION = "words left out and by themselves"
"""How a sparse model is explained: `components.shared.records.occlusion`."""


@dataclass(frozen=True)
class Word:
    """A word as it stands in the text, punctuation included.

    Attributes:
        text: Its letters.
        attribution: What it adds to the log-probability of the answer.
        joined: Whether it follows the word before without a space.
    """

    text: str
    attribution: float
    joined: bool = False


@dataclass(frozen=True)
class Explanation:
    """What the model answered, and why.

    Attributes:
        label: The class that was decided for.
        label_id: Its index.
        probabilities: Calibrated probability of each class, by name.
        words: What the model read.
        unread: The end of a text that is longer than the model reads.
        completeness_error: By how much the words do not add up, as a share of what they should.
        difference: What they should add up to: log-probability of the answer, minus that which the
            model gives an empty text.
        method: How it was found, in words.
    """

    label: str
    label_id: int
    probabilities: dict[str, float]
    words: tuple[Word, ...]
    unread: str
    completeness_error: float
    difference: float
    method: str = GRADIENTS

    @property
    def probability(self) -> float:
        """Calibrated probability of the label."""
        return self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values; `joined` stands only with the words that are."""
        return {
            "label": self.label,
            "label_id": self.label_id,
            "probabilities": self.probabilities,
            "words": [
                {"word": word.text, "attribution": word.attribution}
                | ({"joined": True} if word.joined else {})
                for word in self.words
            ],
            "truncated": bool(self.unread),
            "unread": self.unread,
            "completeness_error": self.completeness_error,
            "difference": self.difference,
            "method": self.method,
        }


def text_of(words: Sequence[Word]) -> str:
    """The text that words make."""
    return "".join(("" if word.joined else " ") + word.text for word in words).strip()


def words_of(
    text: str,
    offsets: Sequence[tuple[int, int]],
    added: NDArray[np.float64],
    *,
    truncated: bool = False,
) -> tuple[tuple[Word, ...], str]:
    """The words of a text with what their tokens add, and the end that was not read.

    Words are what stands between spaces, so that a word keeps its comma and "don't" is one.

    Args:
        text: What the model was given; white space is single spaces.
        offsets: First and last character (exclusive) of each token but the special ones [t].
        added: What each of those tokens adds [t].
        truncated: Whether the text goes on behind the last token.
    """
    read = len(text)
    if truncated:
        read = max((end for _, end in offsets), default=0)
    first_letters = {start for start, _ in offsets}
    starts = [
        place
        for place in range(read)
        if text[place] != " "
        and (place == 0 or text[place - 1] == " " or _splits(text, place, first_letters))
    ]
    totals = np.zeros(len(starts))
    if starts:
        # By its last letter: some tokenizers count the space before a word to it.
        last = [max(start, end - 1) for start, end in offsets]
        place = np.searchsorted(starts, last, side="right") - 1
        np.add.at(totals, np.maximum(place, 0), added)
    ends = [*starts[1:], read] if starts else []
    words = tuple(
        Word(text[start:end].rstrip(" "), float(total), start > 0 and text[start - 1] != " ")
        for start, end, total in zip(starts, ends, totals, strict=True)
    )
    return words, text[read:].lstrip()


def _splits(text: str, place: int, first_letters: set[int]) -> bool:
    """Whether a word of an unspaced script, or one after it, begins inside a run of letters."""
    pair = text[place - 1 : place + 1]
    return place in first_letters and bool(_UNSPACED.search(pair))
