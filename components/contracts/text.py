"""The text that the model reads, made in one place so that training and serving cannot differ."""

TEXT_RULE_VERSION = "1"
"""Part of the tokenizer fingerprint: raise it when `model_text` changes."""

_SENTENCE_ENDS = (".", "!", "?", "…", ":", ";")


def model_text(title: str | None, review_body: str | None) -> str:
    """Join a review's title and body into what the tokenizer sees.

    A missing title is normal. A title without closing punctuation gets a full stop, so that it
    reads as a sentence of its own.

    Args:
        title: Headline of the review, or None.
        review_body: The review, or None.

    Returns:
        The text; empty only where both parts are blank.
    """
    title = (title or "").strip()
    review_body = (review_body or "").strip()
    if not title or not review_body:
        return title or review_body
    separator = " " if title.endswith(_SENTENCE_ENDS) else ". "
    return f"{title}{separator}{review_body}"
