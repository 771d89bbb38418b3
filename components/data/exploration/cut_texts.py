"""Texts that a form cut off: a pile of them at the length that it allows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST_LIMIT = 100
"""No form for reviews allows less; texts of fewer characters are alike for other reasons."""

_LEAST_TEXTS = 30
_LEAST_SHARE = 0.02
_NEARLY_ALL = 0.98
_TIMES_THE_REST = 4
"""How much denser than the lengths below it a pile has to be."""


def cut_texts(lengths: NDArray[np.int64], open_ends: NDArray[np.int64]) -> dict[str, Any] | None:
    """The pile of texts at the limit of a form, if there is one.

    A form that allows 500 characters leaves many texts of about 500, many fewer below and hardly
    any above: not all exactly there, because cleaning takes white space away and some sources
    count a quotation mark twice.

    Args:
        lengths: [n] texts of n characters.
        open_ends: [n] those of them that end without a full stop or another closing mark.

    Returns:
        `limit` (where most texts are), `texts`, `share`, and the shares of open ends among them
        and among the others; None if no length stands out.
    """
    total = int(lengths.sum())
    if not total:
        return None
    # The longest texts alone: there may be more of some short ones, such as "Good".
    long = int(0.9 * np.searchsorted(np.cumsum(lengths), _NEARLY_ALL * total))
    peak = max(1, long + int(lengths[long:].argmax()))
    reach = max(2, peak // 50)
    below = lengths[max(0, peak - 6 * reach) : max(0, peak - 2 * reach)]
    above = int(lengths[peak + reach + 1 :].sum())
    usual = float(below.mean()) if below.size else 0.0
    pile = np.arange(peak - reach, min(peak + reach + 1, lengths.size))
    pile = pile[pile > 0]
    start = next((place for place in pile if lengths[place] > 2 * usual), peak)
    pile = pile[pile >= start]
    texts = int(lengths[pile].sum())
    if (
        peak < _LEAST_LIMIT
        or texts < max(_LEAST_TEXTS, _LEAST_SHARE * total)
        or above > (1 - _NEARLY_ALL) * total
    ):
        return None
    if texts < _TIMES_THE_REST * max(usual, 1e-9) * pile.size:
        return None
    ended_open = int(open_ends[pile].sum())
    others = total - texts
    return {
        "limit": peak,
        "texts": texts,
        "share": texts / total,
        "open_ends": ended_open / texts,
        "open_ends_of_others": (int(open_ends.sum()) - ended_open) / others if others else None,
    }
