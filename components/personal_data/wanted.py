"""What to look for of one review: its ids, and pieces of its text wherever they turn up."""

import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from components.shared.records.masking import Masker
from components.shared.records.review_items import item_id_of
from components.shared.records.text import model_text

ID_COLUMNS = ("review_id", "item_id")
"""What the columns and keys that say which review a row is of are called."""

_PIECE = 40
"""Letters and digits of a piece; so many in a row are no two people's by chance."""
_STEP = 20
_FEWEST = 12
"""Letters and digits that a whole text must have to be looked for by itself."""

Text = TypeVar("Text", str, bytes)

_TAG = re.compile(r"<[^>]*>")
_NOT_SAID = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Wanted:
    """The review that is to be forgotten.

    Attributes:
        ids: Its id, and those that the review service knows its text by.
        texts: Its body and its text as the model reads it, as they stand in files.
        digests: SHA-256 of its text in the payload log.
        pieces: Of the texts, without white space and marks: a page may show a text cut short, or
            each word in an element of its own. Those that stand in another review as well say
            nothing, and are left out.
        raw_pieces: Of the texts as they stand in files that are searched byte by byte.
    """

    ids: frozenset[str]
    texts: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    pieces: tuple[str, ...] = field(default=(), repr=False)
    raw_pieces: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, review_id: str, parts: Iterable[tuple[str | None, str | None]] = ()) -> "Wanted":
        """A review with the titles and bodies that are known of it."""
        ids, texts, digests = {review_id}, set(), set()
        for title, body in parts:
            whole = model_text(title, body)
            masked = Masker(None).mask(whole).text
            digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()
            texts |= {text for text in (body, whole, masked) if text}
            digests.add(digest)
            ids.add(item_id_of(None, digest))
        pieces: dict[str, None] = {}
        raw: dict[bytes, None] = {}
        for text in texts:
            pieces |= dict.fromkeys(_pieces(_said(text)))
            raw |= dict.fromkeys(_pieces(text.encode("utf-8", "replace")))
        named = (frozenset(ids), frozenset(texts), frozenset(digests))
        return cls(*named, tuple(pieces), tuple(raw))

    def without_common(self, others: Iterable[str]) -> "Wanted":
        """The same without the pieces that other reviews' texts hold too."""
        pieces, raw = list(self.pieces), list(self.raw_pieces)
        for text in others:
            said, content = _said(text), text.encode("utf-8", "replace")
            pieces = [piece for piece in pieces if piece not in said]
            raw = [piece for piece in raw if piece not in content]
        return replace(self, pieces=tuple(pieces), raw_pieces=tuple(raw))

    def is_in(self, text: str) -> bool:
        """Whether a piece of the review's text is in this one, however it is set."""
        said = _said(text)
        return any(piece in said for piece in self.pieces)

    def is_in_page(self, page: str) -> bool:
        """The same of HTML, without its tags."""
        return self.is_in(html.unescape(_TAG.sub("", page)))


def _said(text: str) -> str:
    """Letters and digits of a text, in lower case."""
    return _NOT_SAID.sub("", text.lower())


def _pieces(said: Text) -> list[Text]:
    if len(said) < _FEWEST:
        return []
    if len(said) <= _PIECE:
        return [said]
    starts = [*range(0, len(said) - _PIECE, _STEP), len(said) - _PIECE]
    return [said[start : start + _PIECE] for start in starts]
