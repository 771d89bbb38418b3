"""Explore: what is in the prepared reviews, in one pass over them and a sample of their texts."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.exploration.categories import category_shares
from components.data.exploration.counts import Counts, spread
from components.data.exploration.course import course_of
from components.data.exploration.cut_texts import cut_texts
from components.data.exploration.duplicates import ExactDuplicates, near_duplicates
from components.data.exploration.reading import iterate_prepared
from components.data.exploration.sample import SAMPLE_ROWS, Sample
from components.data.exploration.words import telling_words
from components.shared.machine.files import write_json
from components.shared.records.labels import labels_of_file
from components.shared.records.text import model_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

_TOKENISED_ROWS = 5_000
"""Most reviews whose tokens are counted: enough for their spread, and the rest takes seconds."""

_SAMPLED = ["title", "review_body", "sentiment", "split"]


def explore(
    prepared: str | Path,
    summary: str | Path,
    *,
    base_model: str = "",
    max_tokens: int = 0,
    sample_rows: int = SAMPLE_ROWS,
) -> dict[str, Any]:
    """Count what is in the reviews.

    Memory does not grow with the rows, but for nine bytes of each: texts are counted batch by
    batch, and words, tokens and near duplicates are looked for in a sample.

    Args:
        prepared: Parquet in `PREPARED_SCHEMA`.
        summary: Where to write what was found, as JSON.
        base_model: Whose tokenizer counts tokens, in part of the sample; none are counted if empty.
        max_tokens: Longest input of the model, for the share of reviews that are longer.
        sample_rows: Most reviews in the sample.

    Returns:
        What was written.

    Raises:
        UserError: If the file is missing, is something else or has no rows, or if the tokenizer
            cannot be loaded.
    """
    labels = labels_of_file(prepared)
    counts, exact, sample = Counts(labels), ExactDuplicates(), Sample(sample_rows, _SAMPLED)
    for table in iterate_prepared(prepared):
        counts.add(table)
        exact.add(table)
        sample.add(table)
    held = sample.table()
    texts = list(map(model_text, held["title"].to_pylist(), held["review_body"].to_pylist()))
    classes = labels.index_of(held["sentiment"].to_numpy())
    counted = counts.to_dict()
    found = {
        "classes": list(labels.names),
        **counted,
        "categories": category_shares(counted["profile"]),
        "course": course_of(counts.days, labels) | {"undated": counts.undated},
        "cut": cut_texts(counts.profile.lengths, counts.open_ends),
        "sampled": held.num_rows,
        "tokens": _tokens(texts[:_TOKENISED_ROWS], base_model, max_tokens),
        "telling_words": telling_words(texts, classes, labels),
        "duplicates": {"exact": exact.to_dict(), "near": near_duplicates(held)},
    }
    for pair in found["duplicates"]["near"]["examples"]:
        at = labels.index_of(np.array(pair.pop("sentiments")))
        pair["classes"] = [labels.names[index] for index in at]
    write_json(summary, found)
    repeated = found["duplicates"]["exact"]["repeated"]
    logger.info("explored %d reviews; %d repeat a text", counts.rows, repeated)
    return found


def _tokens(texts: list[str], base_model: str, max_tokens: int) -> dict[str, Any] | None:
    """Lengths of the texts as the model reads them, special tokens included."""
    if not base_model:
        return None
    core = _tokenizer(base_model)
    lengths = np.array([len(one) for one in core.encode_batch_fast(texts)])
    told = spread(np.bincount(lengths), "tokens")
    return told | {
        "base_model": base_model,
        "reviews": len(texts),
        "max_tokens": max_tokens,
        "longer": float((lengths > max_tokens).mean()) if max_tokens else None,
    }


def _tokenizer(base_model: str) -> "Tokenizer":
    """The tokenizer of a base model, which neither pads nor cuts."""
    from tokenizers import Tokenizer

    from components.shared.machine.base_model import load_tokenizer, resolve_base_model

    file = Path(resolve_base_model(base_model), "tokenizer.json")
    if not file.is_file():
        return load_tokenizer(base_model).backend_tokenizer
    core = Tokenizer.from_file(str(file))  # without the seconds that transformers takes to import
    core.no_padding()
    core.no_truncation()
    return core
