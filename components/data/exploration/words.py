"""The words that tell a class from the others.

Log-odds with an informative Dirichlet prior (Monroe, Colaresi & Quinn 2008, "Fightin' Words"): the
prior holds each word as often as all reviews together do, so that what one rare word seems to say
is drawn towards nothing, and words that are frequent everywhere weigh little.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.records.labels import LabelSet

MOST_WORDS = 12
"""Of a class; with many classes half of them are listed."""

_LEAST_REVIEWS = 5
"""A word in fewer reviews is not considered; in small data two are enough."""

_WORD = r"(?u)\b\w[\w'\u2019]*\b"
_MOST_TERMS = 50_000
_PRIOR_SHARE, _MOST_PRIOR_WORDS = 0.1, 5_000.0
"""The prior counts for a tenth of all words, but for no more than some eighty reviews have."""

_LEAST_ODDS = 0.5
"""Words of smaller log-odds are frequent everywhere: to be sure of them says little of a class."""

_SURELY = 3.0
"""Standard errors that a word's log-odds are above 0, as thousands of words are looked at."""


def telling_words(
    texts: list[str], classes: NDArray[np.int64], labels: LabelSet
) -> dict[str, list[dict[str, Any]]]:
    """Words and pairs of words that are typical of each class.

    Args:
        texts: Reviews [n].
        classes: Class index [n].
        labels: The classes.

    Returns:
        By class the words with their log-odds, the ends of the 95 % interval, and the reviews that
        hold them, inside the class and elsewhere; the most certain first. A class where no word is
        beyond doubt, or that has all reviews, has an empty list.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        ngram_range=(1, 2),
        min_df=_LEAST_REVIEWS if len(texts) >= 1_000 else 2,
        max_features=_MOST_TERMS,
        binary=True,  # once a review: one that repeats a word says it once
        token_pattern=_WORD,
        dtype=np.int32,
    )
    try:
        held = vectorizer.fit_transform(texts)
    except ValueError:  # no word stands in as many reviews
        return {name: [] for name in labels.names}
    terms = vectorizer.get_feature_names_out()
    rows = np.arange(len(texts))
    members = sparse.csr_matrix(
        (np.ones(len(texts), np.int64), (classes, rows)), (len(labels), len(texts))
    )
    counts = np.asarray((members @ held).todense())
    odds, errors = log_odds(counts)
    most = MOST_WORDS if len(labels) <= 6 else MOST_WORDS // 2
    return {
        name: _listed(terms, counts, index, odds[index], errors[index], most)
        for index, name in enumerate(labels.names)
    }


def log_odds(
    counts: NDArray[np.int64], prior_words: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-odds ratio of each word in each class against all other classes, and standard errors.

    Args:
        counts: [classes, words] how often each word stands in each class; every word in one.
        prior_words: Words that the prior counts for; by default a tenth of all, 5,000 at most.

    Returns:
        [classes, words] twice; the error is infinite where a class or all others have no word.
    """
    everywhere = counts.sum(axis=0)
    total = everywhere.sum()
    if prior_words is None:
        prior_words = min(_PRIOR_SHARE * total, _MOST_PRIOR_WORDS)
    prior = prior_words * everywhere / total
    inside, outside = counts + prior, everywhere - counts + prior
    size = counts.sum(axis=1, keepdims=True)
    odds = _odds(inside, size + prior_words) - _odds(outside, total - size + prior_words)
    errors = np.sqrt(1 / inside + 1 / outside)
    nobody = (size == 0) | (size == total)
    return np.where(nobody, 0.0, odds), np.where(nobody, np.inf, errors)


def _odds(words: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    # A language of a single word has infinite odds; one more word than it has is as good.
    return np.log(words / np.maximum(of - words, 1e-9))


def _listed(
    terms: NDArray[np.str_],
    counts: NDArray[np.int64],
    index: int,
    odds: NDArray[np.float64],
    errors: NDArray[np.float64],
    most: int,
) -> list[dict[str, Any]]:
    """The most certain terms of a class; of `the dress` and `dress` only the more certain one."""
    certain = odds / errors
    found: list[dict[str, Any]] = []
    words_listed: set[str] = set()
    for place in np.argsort(-certain, kind="stable"):
        if len(found) == most or certain[place] < _SURELY:
            break
        words = set(terms[place].split())
        if odds[place] < _LEAST_ODDS or words & words_listed:
            continue
        words_listed |= words
        margin = 1.96 * errors[place]
        found.append(
            {
                "word": str(terms[place]),
                "log_odds": float(odds[place]),
                "low": float(odds[place] - margin),
                "high": float(odds[place] + margin),
                "reviews": int(counts[index, place]),
                "reviews_elsewhere": int(counts[:, place].sum() - counts[index, place]),
            }
        )
    return found
