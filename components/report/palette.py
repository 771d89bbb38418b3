"""The colours of every page and chart, light and dark, in one place."""

from collections.abc import Iterable

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#faf9f7", "#111318"),
    "card": ("#ffffff", "#191c23"),
    "ink": ("#1c1e26", "#e9e9ec"),
    "soft": ("#5a5e6b", "#a3a8b5"),
    "rule": ("#e3e1dc", "#2c303a"),
    "wash": ("#f2f0ec", "#20242d"),
    "accent": ("#3451c6", "#92a7ff"),
    "second": ("#b4570d", "#f0a35e"),
    # Classes from first to last; on a verdict three of them mean stopped, waiting and good.
    "negative": ("#c23b22", "#ff8a72"),
    "low": ("#c0741a", "#f2b06b"),
    "neutral": ("#8a6d00", "#e0bd4f"),
    "high": ("#5f8a1e", "#a9cf6a"),
    "positive": ("#0d7a5f", "#4fd1ae"),
    "negative-wash": ("#fbeae6", "#3a1f1a"),
    "neutral-wash": ("#f8f1d9", "#332b12"),
    "positive-wash": ("#e6f4ef", "#15302a"),
}
"""Light and dark colour of each role. Light ones are unique, so that a chart drawn in them can be
given the page's variables afterwards."""


def class_colours(names: Iterable[str]) -> dict[str, str]:
    """Role of the colour of each class, spread from the negative's to the positive's."""
    names, scale = list(names), ("negative", "low", "neutral", "high", "positive")
    last = max(1, len(names) - 1)
    return {name: scale[round(4 * index / last)] for index, name in enumerate(names)}


def css_variables() -> str:
    """The colours as CSS variables: light ones, and dark ones where the reader prefers them."""
    light, dark = (
        "".join(f"--{name}:{pair[index]};" for name, pair in COLOURS.items()) for index in (0, 1)
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
