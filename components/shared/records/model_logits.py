"""Logits of reviews by the model of a folder, whatever its kind: one place for all who ask."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.records.model_folder import kind_of, read_training_facts
from components.shared.records.sparse_model import SPARSE, SparseModel
from components.shared.records.text import model_text

if TYPE_CHECKING:
    import pyarrow as pa


def logits_of(
    folder: str | Path,
    reviews: "pa.Table",
    input_ids: Sequence[Sequence[int]] | None = None,
    *,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Logits [n, classes] of reviews.

    Args:
        folder: A model folder.
        reviews: `title` and `review_body` of each.
        input_ids: Their tokens, if they were made by this folder's tokenizer and cut at its
            `max_tokens`; None makes them here. A sparse model reads the texts.
        progress: Whether to show a progress bar.

    Raises:
        UserError: If the model cannot be loaded.
    """
    if kind_of(folder) == SPARSE:
        return load_sparse(folder).logits(texts_of(reviews))
    if input_ids is None:
        return answering(folder, progress=progress)(texts_of(reviews))
    from components.shared.machine.inference import load_model, predict_logits

    return predict_logits(load_model(folder), input_ids, progress=progress)


def answering(
    folder: str | Path, *, progress: bool = False
) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Logits [n, classes] of texts, by a model that is loaded once."""
    if kind_of(folder) == SPARSE:
        return load_sparse(folder).logits
    from components.shared.machine.base_model import load_tokenizer
    from components.shared.machine.inference import load_model, predict_logits

    model = load_model(folder)
    tokenizer = load_tokenizer(str(folder)).backend_tokenizer
    tokenizer.enable_truncation(int(read_training_facts(folder)["max_tokens"]))

    def logits(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        return predict_logits(model, rows, progress=progress)

    return logits


def load_sparse(folder: str | Path) -> SparseModel:
    """Load a folder of the sparse kind; `UserError` if it makes no sense."""
    from safetensors import SafetensorError

    try:
        return SparseModel(Path(folder))
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{folder} cannot be loaded as a sparse model ({error!r}); fetch the version again, or "
            "train again"
        ) from None


def texts_of(reviews: "pa.Table") -> list[str]:
    """The text of each review as models read it."""
    parts = (reviews[name].to_pylist() for name in ("title", "review_body"))
    return list(map(model_text, *parts))
