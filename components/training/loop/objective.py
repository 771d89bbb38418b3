"""The loss: cross-entropy of the sentiment, and of the star rating as a second task."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.training.options import TrainingOptions

if TYPE_CHECKING:
    from torch import Tensor


def class_weights(counts: NDArray[np.int64], rule: str) -> NDArray[np.float32]:
    """Weight of each class in the loss; the mean over the rows is 1.

    Args:
        counts: [classes] training rows of each class, each at least 1.
        rule: `none`; `balanced`, inverse to the frequency; or `sqrt`, inverse to its root.
    """
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[rule]
    weights = (counts.sum() / counts) ** power
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)


def sentiment_loss(
    logits: "Tensor",
    classes: "Tensor",
    weights: "Tensor",
    label_smoothing: float = 0.0,
    rows: int | None = None,
) -> "Tensor":
    """Mean over the batch of the weighted cross-entropy, a scalar.

    Divided by the number of rows, not by their weights, so that a row counts the same in whichever
    batch it falls, and the shares of a batch add up to the mean over the whole.

    Args:
        logits: [b, 3].
        classes: [b] class indices.
        weights: [3], from `class_weights`.
        label_smoothing: Share of each target spread over the classes.
        rows: Rows of the whole batch, if these b are a share of it.
    """
    from torch.nn import functional

    losses = functional.cross_entropy(
        logits, classes, reduction="none", label_smoothing=label_smoothing
    )
    return (losses * weights[classes]).sum() / (rows or len(classes))


def rating_loss(logits: "Tensor", ratings: "Tensor", rows: int | None = None) -> "Tensor":
    """Cross-entropy of the star rating, summed over the rated rows, divided by all rows.

    Stars tell 4 from 5 and 1 from 2, which the three sentiments do not (multi-task learning,
    Caruana 1997).

    Args:
        logits: [b, 5].
        ratings: [b] 1 to 5, or 0 where there is none.
        rows: Rows of the whole batch, if these b are a share of it.
    """
    from torch.nn import functional

    # Rows without a rating have target -1, which is skipped.
    losses = functional.cross_entropy(logits, ratings - 1, ignore_index=-1, reduction="sum")
    return losses / (rows or len(ratings))


def total_loss(
    outputs: "tuple[Tensor, Tensor]",
    classes: "Tensor",
    ratings: "Tensor",
    weights: "Tensor",
    options: TrainingOptions,
    rows: int | None = None,
) -> "Tensor":
    """What training minimises, a scalar; arguments as in the two losses."""
    logits, rating_logits = outputs
    loss = sentiment_loss(logits, classes, weights, options.label_smoothing, rows)
    if options.rating_loss_weight > 0.0:
        loss = loss + options.rating_loss_weight * rating_loss(rating_logits, ratings, rows)
    return loss
