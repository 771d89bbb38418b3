"""What drifted, as a sentence that says something to whoever owns the product."""

import numpy as np

from components.monitoring.cells import Cells

TITLES = {
    "product_category": "product category",
    "label": "predicted label",
    "confidence": "confidence",
    "n_words": "length in words",
    "unknown_share": "unknown words",
    "function_word_share": "English function words",
    "non_ascii_share": "characters outside ASCII",
    "distinct_share": "distinct words",
    "texts": "the texts as a whole",
}
"""What each tested column is called."""

_SIDES = "at most {}", "more than {}"
"""A side of an edge, where there is more now: below it, above it."""

_NUMBERS = {
    "n_words": "there are {} words",
    "unknown_share": "{} of the words are unknown to the model",
    "function_word_share": "{} of the words are common English ones (the, is, with)",
    "non_ascii_share": "{} of the characters are outside ASCII",
    "distinct_share": "{} of the words are different ones",
    "confidence": "the confidence is {}",
}


_LESS = 0.7
"""How much a decrease counts where the strongest change is looked for."""


def in_words(name: str, cells: Cells) -> str:
    """The strongest change between the reference and now.

    >>> from components.monitoring.cells import cells_of_names
    >>> cells = cells_of_names(["Dresses"] * 15 + ["Tops"] * 85, ["Dresses"] * 31 + ["Tops"] * 69)
    >>> in_words("product_category", cells)
    'reviews of Dresses come about twice as often as in training: 31 % against 15 %'
    """
    if name in _NUMBERS:
        return _of_numbers(name, cells)
    before, now = cells.shares
    pooled = (cells.reference + cells.now) / (cells.reference.sum() + cells.now.sum())
    change = (now - before) / np.sqrt(pooled * (1 - pooled) + 1e-12)
    # What there is more of says more than what had to make room for it.
    place = int(np.argmax(np.where(change > 0, change, _LESS * -change)))
    shares = f"{percent(now[place])} against {percent(before[place])}"
    which, often = cells.names[place], _how_often(now[place], before[place])
    if name == "label":
        return f"{which} is answered {often} on the test reviews: {shares}"
    return f"reviews of {which} come {often} in training: {shares}"


def tail_of(cells: Cells) -> tuple[int, bool]:
    """The edge whose two sides differ most, and whether there is more above it now than before."""
    before, now = (np.cumsum(shares)[:-1] for shares in cells.shares)
    pooled = np.cumsum(cells.reference + cells.now)[:-1] / (cells.reference + cells.now).sum()
    place = int(np.argmax(np.abs(now - before) / np.sqrt(pooled * (1 - pooled) + 1e-12)))
    return place, bool(now[place] < before[place])


def percent(share: float) -> str:
    """A share with two significant digits, such as 31 %, 2.4 % or 0.31 %."""
    number = 100 * share
    return f"{number:.0f} %" if number >= 10 or number == 0 else f"{number:.2g} %"


def _of_numbers(name: str, cells: Cells) -> str:
    place, above = tail_of(cells)
    shares = [np.cumsum(sample)[place] for sample in cells.shares]
    before, now = ((1 - share if above else share) for share in shares)
    edge = cells.edges[place]
    side = _SIDES[above].format(f"{edge:.0f}" if name == "n_words" else percent(edge))
    if edge == 0 and above and name != "n_words":
        side = "some"
    phrase = _NUMBERS[name].format(side)
    answers = name == "confidence"
    what, where = ("answers", "on the test reviews") if answers else ("reviews", "in training")
    return f"in {percent(now)} of the {what} {phrase}, against {percent(before)} {where}"


def _how_often(now: float, before: float) -> str:
    if before == 0:
        return "now, and never did"
    times = now / before
    if times >= 2.5:
        return f"about {times:.0f} times as often as"
    if times >= 1.75:
        return "about twice as often as"
    if times <= 0.6:
        return "about half as often as" if times >= 0.4 else "much less often than"
    return "more often than" if times > 1 else "less often than"
