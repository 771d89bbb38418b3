"""What to look for of one review: its ids, and pieces of its text wherever they turn up."""

import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

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
            each word in an element of its own.
    """

    ids: frozenset[str]
    texts: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    pieces: tuple[str, ...] = field(default=(), repr=False)

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
        for text in texts:
            pieces |= dict.fromkeys(_pieces(_said(text)))
        return cls(frozenset(ids), frozenset(texts), frozenset(digests), tuple(pieces))

    @property
    def raw_pieces(self) -> set[bytes]:
        """Pieces of the texts as they stand in files, for those that are searched byte by byte."""
        encoded = (text.encode("utf-8", "replace") for text in self.texts if len(text) >= _FEWEST)
        return {
            text[start : start + _PIECE]
            for text in encoded
            for start in range(0, max(1, len(text) - _PIECE + 1), _STEP)
        }

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


def _pieces(said: str) -> list[str]:
    if len(said) < _FEWEST:
        return []
    if len(said) <= _PIECE:
        return [said]
    starts = [*range(0, len(said) - _PIECE, _STEP), len(said) - _PIECE]
    return [said[start : start + _PIECE] for start in starts]
