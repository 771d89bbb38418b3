"""The proof of an explanation: without the words that it names, the model must be less sure."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.records.explanation import Explanation, text_of
from components.shared.statistics.scores import RESAMPLES, SEED, percentile_interval

SHARES: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)
"""Shares of a review's words that are deleted in turn; one word at least, and never all."""

RANDOM_ORDERS = 2
"""Orders by chance that each review's order is compared with."""

Answers = Callable[[Sequence[str]], NDArray[np.float64]]
"""Calibrated probabilities [n, classes] of texts."""


def deletion_test(explanations: Sequence[Explanation], answers: Answers) -> dict[str, Any]:
    """By how much the probability of the answer falls as the words that it rests on are deleted.

    Samek et al. 2017, "Evaluating the Visualization of What a Deep Neural Network Has Learned".
    The words that add most go first; beside it, the same number of words drawn by chance.

    Args:
        explanations: Those of reviews of two words or more are tested.
        answers: The model that was explained.

    Returns:
        `value` (the area: mean fall over `SHARES`) with the ends `low` and `high` of its bootstrap
        interval over reviews, `random` (the same by chance), `reviews`, and for each share a point
        of the `curve`: `share`, `drop` and `random`, each with its interval. Values are None where
        no review could be tested.
    """
    tested = [one for one in explanations if len(one.words) > 1]
    if not tested:
        return {**dict.fromkeys(("value", "low", "high", "random")), "reviews": 0, "curve": []}
    chance = np.random.default_rng(SEED)
    texts: list[str] = []
    for one in tested:
        by_weight = np.argsort([-word.attribution for word in one.words], kind="stable")
        orders = [by_weight, *(chance.permutation(len(one.words)) for _ in range(RANDOM_ORDERS))]
        texts += [_without(one, order, share) for order in orders for share in SHARES]
    left = answers(texts).reshape(len(tested), 1 + RANDOM_ORDERS, len(SHARES), -1)
    falls = np.stack(
        [
            one.probability - chances[:, :, one.label_id]
            for one, chances in zip(tested, left, strict=True)
        ]
    )
    top, random = falls[:, 0], falls[:, 1:].mean(axis=1)  # [reviews, shares]
    return {
        **_estimate(top.mean(axis=1)),
        "random": float(random.mean()),
        "reviews": len(tested),
        "curve": [
            {"share": share, "drop": _estimate(top[:, at]), "random": _estimate(random[:, at])}
            for at, share in enumerate(SHARES)
        ],
    }


def _without(explanation: Explanation, order: NDArray[np.int64], share: float) -> str:
    """What is left of a review without the first words of an order."""
    words = explanation.words
    number = max(1, round(share * len(words)))
    deleted = set(order[:number].tolist())
    return text_of([word for place, word in enumerate(words) if place not in deleted])


def _estimate(falls: NDArray[np.float64]) -> dict[str, float]:
    """Mean over reviews [n] with its percentile interval."""
    drawn = np.random.default_rng(SEED).integers(0, len(falls), (RESAMPLES, len(falls)))
    low, high = percentile_interval(falls[drawn].mean(axis=1))
    return {"value": float(falls.mean()), "low": low, "high": high}
