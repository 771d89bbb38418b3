"""Cleaning of review texts: by default only what no tokenizer should see."""

import html
import re

from components.shared.records.text import clean_text

_TAG = re.compile(r"</?[A-Za-z][^<>]{0,1000}>|<!--.{0,1000}?-->", re.DOTALL)
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|h[1-6]|tr)\b[^<>]{0,1000}>", re.IGNORECASE)


def clean(text: str, *, strip_html: bool = False, lowercase: bool = False) -> str:
    """Clean one text.

    Case, punctuation, emoji and accents stay: a BERT tokenizer has its own rules for them and the
    sentiment is partly in them. Without options this is `clean_text`, which serving applies too;
    the options change the training data alone, so they are for sources with mark-up that later
    reviews will not have.

    Args:
        text: Title or body.
        strip_html: Remove tags (those of blocks and line breaks become spaces) and resolve
            entities such as `&amp;`.
        lowercase: Fold to lower case; only for a model whose tokenizer does so too.
    """
    if strip_html:
        text = _TAG.sub("", _BREAK.sub(" ", text))
        text = html.unescape(text)
    if lowercase:
        text = text.lower()
    return clean_text(text)
