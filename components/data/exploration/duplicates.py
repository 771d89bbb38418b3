"""Texts that occur twice, or nearly so, and whether they stand in different splits."""

import re
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.records.reviews import SPLITS
from components.shared.records.splits import keyed_order, text_identity

ALIKE = 0.5
"""Least Jaccard similarity of the shingles of two near duplicates."""

_WORDS = 4
"""Words of a shingle."""

_PERMUTATIONS, _BANDS, _BAND = 64, 21, 3
"""Finds 94 % of the pairs of similarity 0.5, and 99.9 % of those of 0.7."""

_MOST_COMPARED = 50_000
_EXAMPLES, _EXCERPT = 8, 300


class ExactDuplicates:
    """Finds texts that are the same but for case, punctuation and white space; nine bytes a row."""

    def __init__(self) -> None:
        self._keys: list[NDArray[np.uint64]] = []
        self._splits: list[NDArray[np.int8]] = []

    def add(self, prepared: pa.Table) -> None:
        """Consider rows in the form of `PREPARED_SCHEMA`."""
        texts = prepared["review_body"].to_pylist()
        keys = [keyed_order(text_identity(text), 0) for text in texts]
        self._keys.append(np.array(keys, np.uint64))
        splits = [SPLITS.index(name) for name in prepared["split"].to_pylist()]
        self._splits.append(np.array(splits, np.int8))

    def to_dict(self) -> dict[str, int]:
        """Rows that repeat an earlier text, and texts that stand in more than one split."""
        keys, text_of_row = np.unique(np.concatenate(self._keys), return_inverse=True)
        splits = np.concatenate(self._splits)
        seen = np.zeros((len(keys), len(SPLITS)), bool)
        seen[text_of_row, splits] = True
        across = int((seen.sum(axis=1) > 1).sum())
        return {"repeated": len(splits) - len(keys), "across_splits": across}


def near_duplicates(sample: pa.Table) -> dict[str, Any]:
    """Pairs of different texts that share at least half of their runs of four words.

    MinHash finds candidates, whose similarity is then computed exactly.

    Args:
        sample: Rows with `review_body`, `sentiment` and `split`.

    Returns:
        Pairs, those across splits and those of different classes, the first pairs as examples
        (across splits before others), and `complete`: false if there were so many candidates that
        the search was ended.
    """
    from datasketch import MinHash, MinHashLSH

    bodies = sample["review_body"].to_pylist()
    _, different = np.unique([text_identity(body) for body in bodies], return_index=True)
    places = np.sort(different).tolist()
    index = MinHashLSH(num_perm=_PERMUTATIONS, params=(_BANDS, _BAND))
    encoded = ([one.encode() for one in _shingles(bodies[place])] for place in places)
    hashes = MinHash.generator(encoded, num_perm=_PERMUTATIONS, hashfunc=crc32)
    splits, classes = sample["split"].to_pylist(), sample["sentiment"].to_pylist()
    pairs: list[tuple[bool, float, int, int]] = []
    compared = 0
    for place, sketch in zip(places, hashes, strict=True):
        for other in index.query(sketch):
            own, others = _shingles(bodies[place]), _shingles(bodies[other])
            alike = len(own & others) / len(own | others)
            if alike >= ALIKE:
                pairs.append((splits[place] != splits[other], alike, other, place))
            compared += 1
        index.insert(place, sketch, check_duplication=False)
        if compared > _MOST_COMPARED:
            break
    pairs.sort(reverse=True)
    return {
        "pairs": len(pairs),
        "across_splits": sum(across for across, *_ in pairs),
        "of_different_classes": sum(classes[a] != classes[b] for *_, a, b in pairs),
        "complete": compared <= _MOST_COMPARED,
        "examples": [
            {
                "similarity": alike,
                "texts": [bodies[place][:_EXCERPT] for place in (one, other)],
                "splits": [splits[one], splits[other]],
                "sentiments": [classes[one], classes[other]],
            }
            for _, alike, one, other in pairs[:_EXAMPLES]
        ],
    }


def _shingles(text: str) -> set[str]:
    """Every run of four words; a shorter text is one itself, one without words is its marks."""
    words = re.findall(r"\w+", text.lower()) or [text]
    return {
        " ".join(words[start : start + _WORDS]) for start in range(max(1, len(words) - _WORDS + 1))
    }
