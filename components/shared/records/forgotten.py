"""Reviews that are forgotten: whoever reads reviews leaves them out from the moment they are noted.

A note is a file `personal_data/forgotten/<pseudonym>.json` in the state folder. The pseudonym is
the keyed hash of the review's id: who has the notes and not the key learns nothing from them.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from components.shared.machine.pseudonyms import pseudonym, pseudonym_key
from components.shared.machine.state import state_folder

_KIND = "review"


def notes_folder(state: Path | None = None) -> Path:
    """Where the notes are; the state folder is the one of the environment where None."""
    return (state or state_folder()) / "personal_data" / "forgotten"


def note_of(review_id: str, state: Path | None = None) -> Path:
    """The file that says that a review is forgotten, there or not."""
    name = pseudonym(pseudonym_key(state), _KIND, review_id)
    return notes_folder(state) / f"{name}.json"


def without_forgotten(reviews: pa.Table, state: Path | None = None) -> pa.Table:
    """The rows of a table that are not forgotten, by their `review_id`."""
    forgotten = {note.stem for note in notes_folder(state).glob("*.json")}
    if not forgotten:
        return reviews
    kept = _kept(reviews["review_id"].to_pylist(), forgotten, pseudonym_key(state))
    return reviews if len(kept) == len(reviews) else reviews.take(pa.array(kept, pa.int64()))


def _kept(review_ids: Sequence[str], forgotten: set[str], key: bytes) -> list[int]:
    return [
        number
        for number, review_id in enumerate(review_ids)
        if pseudonym(key, _KIND, review_id) not in forgotten
    ]
