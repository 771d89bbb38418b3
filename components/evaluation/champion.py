"""The model in service, asked about the same reviews in the way that it would read them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.machine.base_model import load_tokenizer
from components.shared.machine.files import sha256_of_file
from components.shared.records.model_folder import (
    NO_CHAMPION,
    TOKENIZER,
    check_model_folder,
    read_training_facts,
)
from components.shared.records.text import model_text


@dataclass(frozen=True)
class Champion:
    """A champion's folder and what sets it apart from the new model."""

    folder: Path  # its model folder
    facts: dict[str, Any]  # its `training.json`
    reads_alike: bool  # whether its tokenizer and token limit are the new model's
    # whether it was trained on other data than the new model, so that rows of today's test split
    # may have been in its training split
    may_have_seen_test: bool


def find_champion(folder: Path | None, model_folder: Path) -> Champion | None:
    """The champion in a folder, if there is one.

    Args:
        folder: The champion's model folder; None, missing, empty or with the note `NO_CHAMPION`
            means no champion.
        model_folder: The new model's folder.

    Returns:
        The champion, or None.

    Raises:
        UserError: If the folder holds something else than a whole model folder.
    """
    if folder is None or not folder.is_dir() or not any(folder.iterdir()):
        return None
    if (folder / NO_CHAMPION).is_file():
        return None
    check_model_folder(folder)
    own, new = read_training_facts(folder), read_training_facts(model_folder)
    same_tokenizer = sha256_of_file(folder / TOKENIZER) == sha256_of_file(model_folder / TOKENIZER)
    return Champion(
        folder=folder,
        facts=own,
        reads_alike=same_tokenizer and own.get("max_tokens") == new.get("max_tokens"),
        may_have_seen_test=own.get("facts", {}).get("data_fingerprint")
        != new.get("facts", {}).get("data_fingerprint"),
    )


def tokens_as_read_by(champion: Champion, reviews: pa.Table) -> list[list[int]]:
    """Token ids of reviews by the champion's own tokenizer and limit.

    Args:
        champion: Whose tokenizer and `max_tokens` are used.
        reviews: Columns `title` and `review_body`.

    Returns:
        Ids of each review, special tokens included, truncated, unpadded.
    """
    tokenizer = load_tokenizer(str(champion.folder)).backend_tokenizer
    tokenizer.enable_truncation(int(champion.facts["max_tokens"]))
    titles, bodies = reviews["title"].to_pylist(), reviews["review_body"].to_pylist()
    texts = [model_text(title, body) for title, body in zip(titles, bodies, strict=True)]
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]
