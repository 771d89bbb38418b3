"""The text that the model reads, made in one place so that training and serving cannot differ."""

import re
import unicodedata
from functools import cache

TEXT_RULE_VERSION = "1"
"""Part of the tokenizer fingerprint: raise it when `model_text` changes."""

MAX_MARKS = 64
"""Most combining marks in a row; no script needs ten. Composing them (NFC) takes time that grows
with the square of their number: a text of 100,000 would take half a minute."""

_SENTENCE_ENDS = (".", "!", "?", "…", ":", ";")

# Control characters but for white space, and the marks that have no width and no meaning. The
# joiners U+200C and U+200D stay: emoji and several scripts are spelled with them.
_NOISE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Remove what no tokenizer should see, and nothing else.

    Unicode is composed (NFC), control characters are dropped, every run of white space becomes
    one space. Of more than `MAX_MARKS` combining marks in a row, which ingest and the server
    refuse, the rest is dropped. Cleaning twice changes nothing more.
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", _with_few_marks(_NOISE.sub("", text)))
        text = _with_few_marks(text)  # Some marks are composed of two.
    return " ".join(text.split())


def has_too_many_marks(text: str) -> bool:
    """Whether more than `MAX_MARKS` combining marks are in a row, but for what cleaning drops."""
    return _may_have_many(text) and bool(_too_many_marks().search(_NOISE.sub("", text)))


def _with_few_marks(text: str) -> str:
    if not _may_have_many(text):
        return text
    return _too_many_marks().sub(lambda run: run.group()[:MAX_MARKS], text)


def _may_have_many(text: str) -> bool:
    """Whether enough of its characters are not ASCII; spares most texts the search."""
    return len(text) - len(text.encode("ascii", "ignore")) > MAX_MARKS


@cache
def _too_many_marks() -> "re.Pattern[str]":
    """Finds more than `MAX_MARKS` characters in a row that composition has to sort."""
    marks = (
        char
        for char in map(chr, range(0x300, 0x1F000))
        if unicodedata.combining(unicodedata.normalize("NFD", char)[0])
    )
    return re.compile(f"[{''.join(marks)}]{{{MAX_MARKS + 1},}}")


def model_text(title: str | None, review_body: str | None) -> str:
    """Join a review's title and body into what the tokenizer sees.

    Both parts are cleaned. A missing title is normal. A title without closing punctuation gets a
    full stop, so that it reads as a sentence of its own.

    Args:
        title: Headline of the review, or None.
        review_body: The review, or None.

    Returns:
        The text; empty only where both parts are blank.
    """
    title = clean_text(title or "")
    review_body = clean_text(review_body or "")
    if not title or not review_body:
        return title or review_body
    separator = " " if title.endswith(_SENTENCE_ENDS) else ". "
    return f"{title}{separator}{review_body}"
