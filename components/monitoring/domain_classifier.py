"""A net for what nobody thought of: can a classifier tell the new texts from the known ones?"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.monitoring.wording import TITLES
from components.shared.records.monitoring_summary import Finding

MOST_TEXTS = 20_000
"""Of each side; more would only take longer."""

LEAST_TEXTS = 200
"""Of each side and each half; fewer teach nothing."""

_WORD = r"(?u)\b\w[\w']+\b"
_FEATURES = 2**18
_SHOWN, _LEAST_GAIN = 8, 0.15
"""Words that are named: so many, and none that says much less than the first."""


def compare_texts(reference: Sequence[str], now: Sequence[str], seed: int = 0) -> Finding | str:
    """Train on one half of the texts, and test on the other whether the two sources differ.

    A text goes to a half by its hash: the same text is never in both. Split at random, texts that
    repeat, as retries and "Great!" do, are learned by heart, and the classifier seems to know the
    new ones although nothing changed.

    Args:
        reference: Texts that the version was made for, masked as the log masks.
        now: Texts of the window.
        seed: Seed of the classifier, and of the draw where texts are many.

    Returns:
        The finding, not yet corrected for the number of tests; or why nothing was compared.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import SGDClassifier

    texts = [_drawn(source, seed) for source in (reference, now)]
    both = [*texts[0], *texts[1]]
    new = np.repeat([False, True], [len(texts[0]), len(texts[1])])
    half = np.array([_in_first_half(text) for text in both], bool)
    few = min((int(np.sum(h & n)) for h in (half, ~half) for n in (new, ~new)), default=0)
    if few < LEAST_TEXTS:
        return f"there are too few different texts: {len(texts[1])} kept, {len(texts[0])} known"
    hashing = HashingVectorizer(
        n_features=_FEATURES, alternate_sign=False, norm=None, token_pattern=_WORD
    )
    counts = hashing.transform(both)
    weights = TfidfTransformer(sublinear_tf=True).fit(counts[half])
    matrix = weights.transform(counts)
    classifier = SGDClassifier(
        loss="log_loss", alpha=1e-5, average=True, class_weight="balanced", random_state=seed
    ).fit(matrix[half], new[half])
    scores = classifier.decision_function(matrix[~half])
    truth = new[~half]
    test = mannwhitneyu(scores[truth], scores[~truth], alternative="greater")
    area = float(test.statistic) / (truth.sum() * (~truth).sum())
    importance = classifier.coef_[0] * weights.idf_
    words = _telling(hashing, importance, texts, counts, new)
    by_words = f"; it knows them by {', '.join(words)}" if words else ""
    return Finding(
        name="texts",
        title=TITLES["texts"],
        words=f"a classifier tells the new texts from the known ones (AUC {area:.2f}){by_words}",
        drifted=False,
        p=float(test.pvalue),
        p_holm=1.0,
        effect=max(0.0, 2 * area - 1),
        chance=0.0,
        rows=len(texts[1]),
        cells=[],
        new_words=words,
    )


def _drawn(texts: Sequence[str], seed: int) -> list[str]:
    """The different texts, at most `MOST_TEXTS`."""
    different = sorted({text for text in texts if text})
    if len(different) <= MOST_TEXTS:
        return different
    chosen = np.random.default_rng(seed).choice(len(different), MOST_TEXTS, replace=False)
    return [different[place] for place in chosen]


def _in_first_half(text: str) -> bool:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] < 128


def _telling(
    hashing: "object",
    importance: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    counts: "object",
    new: NDArray[np.bool_],
) -> list[str]:
    """The words that speak most for a text being new, by weight and by how much more there are."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=_WORD, binary=True, min_df=3)
    try:
        there = counter.fit_transform(texts[1])
    except ValueError:  # as scikit-learn says that no word is left
        return []
    words = counter.get_feature_names_out()
    places = hashing.transform(words).indices if len(words) else np.array([], int)  # type: ignore[attr-defined]
    share_now = np.asarray(there.mean(axis=0)).ravel()
    old = counts[~new]  # type: ignore[index]
    share_before = np.asarray((old > 0).mean(axis=0)).ravel()[places]
    gain = importance[places] * np.maximum(0.0, share_now - share_before)
    least = _LEAST_GAIN * gain.max(initial=0.0)
    return [str(words[place]) for place in np.argsort(-gain)[:_SHOWN] if gain[place] > least]
