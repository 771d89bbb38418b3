"""Weights of classes in a loss, by how frequent they are in training."""

import numpy as np
from numpy.typing import NDArray


def class_weights(counts: NDArray[np.int64], rule: str) -> NDArray[np.float32]:
    """Weight of each class in the loss; the mean over the training rows is 1.

    Args:
        counts: Training rows of each class [classes]; a class without any counts as one with one.
        rule: `none`; `balanced`, inverse to the frequency; or `sqrt`, inverse to its root.

    Returns:
        The weights [classes].

    Raises:
        KeyError: If there is no such rule.
    """
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[rule]
    weights = (counts.sum() / np.maximum(counts, 1)) ** power
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)
