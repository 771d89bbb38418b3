"""How good the weights are on the validation split."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.records.decision import Calibration, decide, log_softmax
from components.shared.records.labels import CLASS_NAMES
from components.training.loop.batching import length_batches, padded
from components.training.loop.data import TokenisedReviews
from components.training.loop.distributed import Ranks

if TYPE_CHECKING:
    from torch import nn

ROWS_PER_BATCH = 64


def network_logits(
    network: "nn.Module", reviews: TokenisedReviews, pad_id: int, ranks: Ranks
) -> NDArray[np.float32]:
    """Sentiment logits [n, 3] of all rows, in the network's own precision, without dropout.

    The ranks share the batches out; a batch is the same however many they are.

    Args:
        network: From `build_network`.
        reviews: The rows.
        pad_id: Fills short rows up.
        ranks: Every one of them gets all logits.
    """
    import torch

    device = ranks.device
    logits = torch.zeros(len(reviews), len(CLASS_NAMES), device=device)
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for rows in length_batches(reviews.lengths, ROWS_PER_BATCH)[ranks.share]:
            tokens, mask = padded([reviews.row(row) for row in rows], pad_id)
            found, _ = network(
                torch.from_numpy(tokens).to(device),
                None if mask.all() else torch.from_numpy(mask).to(device),
            )
            logits[torch.from_numpy(rows).to(device)] = found
        ranks.sum(logits)
    network.train(was_training)
    return logits.cpu().numpy()


def macro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean over the classes of F1 = 2 TP / (2 TP + FP + FN); 0 for a class never seen or said.

    Args:
        truth: [n] class indices.
        predicted: [n] class indices.
    """
    scores = []
    for index in range(len(CLASS_NAMES)):
        right = np.sum((truth == index) & (predicted == index))
        said_or_true = np.sum(truth == index) + np.sum(predicted == index)
        scores.append(2 * right / said_or_true if said_or_true else 0.0)
    return float(np.mean(scores))


def score(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> dict[str, float]:
    """`validation_loss` (mean negative log-likelihood, nats), `accuracy` and `macro_f1`.

    Args:
        logits: [n, 3].
        classes: [n] true class indices.
    """
    log_probabilities = log_softmax(logits)
    predicted = log_probabilities.argmax(axis=1)
    return {
        "validation_loss": float(-log_probabilities[np.arange(len(classes)), classes].mean()),
        "accuracy": float(np.mean(predicted == classes)),
        "macro_f1": macro_f1(classes, predicted),
    }


def tune_decision_offsets(
    logits: NDArray[np.float32], classes: NDArray[np.int64], temperature: float
) -> tuple[float, float, float]:
    """Offsets of the log-probabilities that make macro-F1 highest on held-out rows.

    A grid search in steps of 0.05; the score is smoothed over neighbouring cells, because the best
    single cell of a jagged surface is luck. Positive's offset is 0.

    Args:
        logits: [n, 3] of validation.
        classes: [n] true class indices.
        temperature: Divisor of the logits.
    """
    from scipy.ndimage import uniform_filter

    log_probabilities = log_softmax(logits, temperature)
    grid = np.arange(-10, 31) * 0.05
    scores = np.array(
        [
            [
                macro_f1(
                    classes, (log_probabilities + np.array([negative, neutral, 0.0])).argmax(axis=1)
                )
                for neutral in grid
            ]
            for negative in grid
        ]
    )
    smooth = uniform_filter(scores, size=7, mode="nearest")
    best_negative, best_neutral = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return float(round(grid[best_negative], 2)), float(round(grid[best_neutral], 2)), 0.0


def score_as_decided(
    logits: NDArray[np.float32], classes: NDArray[np.int64], calibration: Calibration
) -> dict[str, float]:
    """`accuracy` and `macro_f1` of the calibrated decisions."""
    predicted = decide(logits, calibration)
    return {
        "accuracy": float(np.mean(predicted == classes)),
        "macro_f1": macro_f1(classes, predicted),
    }
