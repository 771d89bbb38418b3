"""The text that the model reads, made in one place so that training and serving cannot differ."""

import re
import unicodedata

TEXT_RULE_VERSION = "1"
"""Part of the tokenizer fingerprint: raise it when `model_text` changes."""

_SENTENCE_ENDS = (".", "!", "?", "…", ":", ";")

# Control characters but for white space, and the marks that have no width and no meaning. The
# joiners U+200C and U+200D stay: emoji and several scripts are spelled with them.
_NOISE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Remove what no tokenizer should see, and nothing else.

    Unicode is composed (NFC), control characters are dropped, every run of white space becomes
    one space. Cleaning twice changes nothing more.
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", _NOISE.sub("", text))
    return " ".join(text.split())


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
