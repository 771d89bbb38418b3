"""The colours of every page and chart, light and dark, in one place."""

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#faf9f7", "#111318"),
    "card": ("#ffffff", "#191c23"),
    "ink": ("#1c1e26", "#e9e9ec"),
    "soft": ("#5a5e6b", "#a3a8b5"),
    "rule": ("#e3e1dc", "#2c303a"),
    "wash": ("#f2f0ec", "#20242d"),
    "accent": ("#3451c6", "#92a7ff"),
    "second": ("#b4570d", "#f0a35e"),
    # Sentiments; on a verdict they mean stopped, waiting and good.
    "negative": ("#c23b22", "#ff8a72"),
    "neutral": ("#8a6d00", "#e0bd4f"),
    "positive": ("#0d7a5f", "#4fd1ae"),
    "negative-wash": ("#fbeae6", "#3a1f1a"),
    "neutral-wash": ("#f8f1d9", "#332b12"),
    "positive-wash": ("#e6f4ef", "#15302a"),
}
"""Light and dark colour of each role. Light ones are unique, so that a chart drawn in them can be
given the page's variables afterwards."""


def css_variables() -> str:
    """The colours as CSS variables: light ones, and dark ones where the reader prefers them."""
    light, dark = (
        "".join(f"--{name}:{pair[index]};" for name, pair in COLOURS.items()) for index in (0, 1)
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
