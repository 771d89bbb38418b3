"""Words, word n-grams and character n-grams of a text as fastText numbers them.

Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification": a text is the mean of the
vectors of what occurs in it; n-grams share a fixed number of buckets by their hash. Hashes and
numbers are those of the published program, so that its models and ours can be compared.

This file travels with every registered version of the sparse kind: it imports nothing of this
project.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

END = "</s>"
"""The word that ends each text: fastText's own, for the end of a line."""

_WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
_OFFSET, _PRIME = 2166136261, 16777619
_MIX = np.uint64(116049371)


def words_of(text: str) -> list[str]:
    """Words and punctuation marks in lower case, and the end."""
    return [*_WORD.findall(text.lower()), END]


def fnv_hash(word: str) -> int:
    """The 32-bit hash of a word (FNV-1a), with bytes above 127 as the program extends them."""
    hashed = _OFFSET
    for byte in word.encode("utf-8", "surrogatepass"):
        hashed = ((hashed ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * _PRIME) & 0xFFFFFFFF
    return hashed


@dataclass(frozen=True)
class FastTextFeatures:
    """Which numbers stand for a text.

    Attributes:
        words: The vocabulary; word i has number i.
        word_ngrams: Longest run of words that has a bucket; 1 for none.
        buckets: How many buckets the n-grams share, numbered after the words.
        min_n: Shortest run of characters that has a bucket, `<` and `>` at a word's ends included.
        max_n: Longest one; 0 for none.
    """

    words: Sequence[str]
    word_ngrams: int = 2
    buckets: int = 200_000
    min_n: int = 0
    max_n: int = 0

    @property
    def width(self) -> int:
        """How many numbers there are."""
        return len(self.words) + self.buckets

    def numbers(self, words: Sequence[str]) -> NDArray[np.int64]:
        """The numbers of a text's words, as often as they occur: words, parts of words, n-grams."""
        known = [self._of_word(word) for word in words]
        own = [number for _, numbers in known for number in numbers]
        hashes = np.array([hashed for hashed, _ in known], dtype=np.uint32)
        # The program keeps hashes as signed numbers of 32 bits and widens them to 64.
        signed = hashes.astype(np.int32).astype(np.int64).astype(np.uint64)
        runs, mixed = [], signed
        with np.errstate(over="ignore"):
            for length in range(2, self.word_ngrams + 1):
                mixed = mixed[:-1] * _MIX + signed[length - 1 :]
                runs.append((mixed % np.uint64(self.buckets)).astype(np.int64) + len(self.words))
                if not len(mixed):
                    break
        return np.concatenate([np.array(own, dtype=np.int64), *runs])

    def matrix(self, texts: Sequence[str]) -> "csr_matrix":
        """Share of each number among those of each text, [n, width] in fp32."""
        from scipy.sparse import csr_matrix

        rows = [self.numbers(words_of(text)) for text in texts]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        numbers = np.concatenate([*rows, np.empty(0, dtype=np.int64)])
        matrix = csr_matrix((shares, numbers, ends), shape=(len(rows), self.width))
        matrix.sum_duplicates()
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values, for `FastTextFeatures(**values)`."""
        numbers = ("word_ngrams", "buckets", "min_n", "max_n")
        return {"words": list(self.words), **{name: getattr(self, name) for name in numbers}}

    def _of_word(self, word: str) -> tuple[int, list[int]]:
        """The hash of a word, and the numbers of the word itself and of its parts."""
        if (found := self._seen.get(word)) is None:
            number = self._number_of.get(word)
            own = [] if number is None else [number]
            found = fnv_hash(word), own + ([] if word == END else self._parts(word))
            if len(self._seen) < 500_000:  # enough for a language, and no leak in a server
                self._seen[word] = found
        return found

    def _parts(self, word: str) -> list[int]:
        """The buckets of a word's runs of characters, in the program's order."""
        if not self.max_n:
            return []
        marked = f"<{word}>"
        ends = len(marked)
        return [
            len(self.words) + fnv_hash(marked[start : start + length]) % self.buckets
            for start in range(ends)
            for length in range(self.min_n, min(self.max_n, ends - start) + 1)
            if not (length == 1 and (start == 0 or start + length == ends))
        ]

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def _seen(self) -> dict[str, tuple[int, list[int]]]:
        return {}
