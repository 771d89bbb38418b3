"""The words that many of the training reviews hold: what a model folder knows of its language.

`known_words.txt` in a model folder holds one word a line, in lower case and sorted. A review whose
words are missing there is written in another way than those that were trained on. And a capitalised
word that is missing there may be somebody's name: fewer than `K` people wrote it as a common word.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

KNOWN_WORDS = "known_words.txt"

K = 5
"""Reviews that must hold a word in lower case; a word that fewer people used can point at one."""

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text as they are written: letters, with apostrophes inside."""
    return _WORD.findall(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def lower_case_words(text: str) -> set[str]:
    """The different words that a text holds in lower case."""
    return {word for word in words_of(text) if word == word.lower()}


def review_counts(texts: Iterable[str]) -> Counter[str]:
    """How many of the texts hold each word in lower case."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(lower_case_words(text))
    return counts


def known_words(texts: Iterable[str], k: int = K) -> frozenset[str]:
    """The words that at least k of the texts hold in lower case."""
    return frozenset(word for word, reviews in review_counts(texts).items() if reviews >= k)


def write_known_words(folder: str | Path, words: Iterable[str]) -> None:
    """Write the list into a model folder that is being made."""
    lines = "".join(f"{word}\n" for word in sorted(words))
    (Path(folder) / KNOWN_WORDS).write_text(lines, encoding="utf-8")


def read_known_words(folder: str | Path) -> frozenset[str] | None:
    """The list of a model folder; None where it was made before there were such lists."""
    path = Path(folder) / KNOWN_WORDS
    if not path.is_file():
        return None
    return frozenset(path.read_text(encoding="utf-8").splitlines())
