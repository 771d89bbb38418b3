"""What is measured and shown while training runs: scores on validation, speed, progress."""

import logging
import sys
import time

import numpy as np
from numpy.typing import NDArray

from components.shared.records.decision import Calibration, decide, fit_temperature, log_softmax

SECONDS_BETWEEN_LINES = 15.0

logger = logging.getLogger(__name__)


def macro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    """Mean over the classes of F1 = 2 TP / (2 TP + FP + FN); 0 for a class that never occurs."""
    scores = []
    for index in range(classes):
        right = np.sum((truth == index) & (predicted == index))
        true_or_predicted = np.sum(truth == index) + np.sum(predicted == index)
        scores.append(2 * right / true_or_predicted if true_or_predicted else 0.0)
    return float(np.mean(scores))


def score(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> dict[str, float]:
    """`validation_loss` (mean negative log-likelihood, nats), `accuracy` and `macro_f1`.

    Args:
        logits: [n, classes].
        classes: [n] true class indices.
    """
    log_probabilities = log_softmax(logits)
    predicted = log_probabilities.argmax(axis=1)
    return {
        "validation_loss": float(-log_probabilities[np.arange(len(classes)), classes].mean()),
        "accuracy": float(np.mean(predicted == classes)),
        "macro_f1": macro_f1(classes, predicted, logits.shape[1]),
    }


def calibrate(
    logits: NDArray[np.float32], classes: NDArray[np.int64], *, tune_decisions: bool
) -> tuple[Calibration, dict[str, float]]:
    """Fit the calibration, and score what is decided with it; arguments as for `score`.

    Returns:
        The calibration; `validation_loss` of the calibrated probabilities, `accuracy` and
        `macro_f1` of the calibrated decisions.
    """
    temperature = fit_temperature(logits, classes)
    offsets = (0.0,) * logits.shape[1]
    if tune_decisions:
        offsets = tune_decision_offsets(logits, classes, temperature)
    calibration = Calibration(temperature, offsets)
    decided = decide(logits, calibration)
    return calibration, {
        "validation_loss": score(logits / temperature, classes)["validation_loss"],
        "accuracy": float(np.mean(decided == classes)),
        "macro_f1": macro_f1(classes, decided, logits.shape[1]),
    }


def tune_decision_offsets(
    logits: NDArray[np.float32], classes: NDArray[np.int64], temperature: float
) -> tuple[float, ...]:
    """Offsets [classes] of the log-probabilities that make macro-F1 highest on held-out rows.

    A grid search in steps of 0.05 over two classes at a time, twice where there are more than
    three; the score is smoothed over neighbouring cells, because the best single cell of a jagged
    surface is luck. The last class's offset is 0.
    """
    from scipy.ndimage import uniform_filter

    log_probabilities = log_softmax(logits, temperature)
    grid = np.arange(-10, 31) * 0.05
    offsets = np.zeros(logits.shape[1])
    free = range(len(offsets) - 1)
    for pair in [free[i : i + 2] for i in free[::2]] * (1 if len(free) <= 2 else 2):
        scores = np.empty((len(grid),) * len(pair))
        for cell in np.ndindex(scores.shape):
            offsets[pair] = grid[list(cell)]
            decided = (log_probabilities + offsets).argmax(axis=1)
            scores[cell] = macro_f1(classes, decided, len(offsets))
        smooth = uniform_filter(scores, size=7, mode="nearest")
        best = np.unravel_index(int(smooth.argmax()), smooth.shape)
        offsets[pair] = grid[list(best)]
    return tuple(offsets.round(2).tolist())


class SpeedMeter:
    """Sums rows, tokens and seconds of training steps; evaluation is not in them."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {"rows": 0.0, "tokens": 0.0, "seconds": 0.0}

    def add(self, lengths: NDArray[np.int64], seconds: float) -> None:
        """Count one step on rows of these lengths [b]: real tokens, without padding."""
        self.totals["rows"] += len(lengths)
        self.totals["tokens"] += float(np.sum(lengths))
        self.totals["seconds"] += seconds

    @property
    def samples_per_second(self) -> float:
        """Mean rate so far."""
        return self.totals["rows"] / max(self.totals["seconds"], 1e-9)

    def summary(self) -> dict[str, float]:
        """What `training.json` holds under `speed`; of all processes, if several train."""
        seconds = max(self.totals["seconds"], 1e-9)
        return {
            "seconds": round(self.totals["seconds"], 3),
            "samples_per_second": round(self.samples_per_second, 2),
            "tokens_per_second": round(self.totals["tokens"] / seconds, 1),
        }


class TrainingProgress:
    """Loss, rate and time left, step by step."""

    def __init__(self, steps: int, done: int = 0, shown: bool = True) -> None:
        """Show a run of so many steps, of which some were done before, or show nothing."""
        from tqdm import tqdm

        self._steps, self._done, self._done_before = steps, done, done
        self._begun = self._last_line = time.monotonic()
        self._on_terminal = shown and sys.stderr.isatty()
        self._in_log = shown and not self._on_terminal
        self._bar = tqdm(
            total=steps,
            initial=done,
            unit="step",
            desc="fine-tuning",
            disable=not self._on_terminal,
            dynamic_ncols=True,
        )

    def step(self, loss: float, samples_per_second: float) -> None:
        """Show one more step, with the recent mean loss and the mean rate."""
        self._done += 1
        self._bar.set_postfix(loss=f"{loss:.3f}", rate=f"{samples_per_second:.0f}/s", refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._in_log and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            done_here = self._done - self._done_before
            left = (now - self._begun) * (self._steps - self._done) / done_here
            logger.info(
                "step %d of %d, loss %.3f, %.0f reviews/s, %d:%02d left",
                *(self._done, self._steps, loss, samples_per_second, left // 60, left % 60),
            )

    def evaluation(self, entry: dict[str, float]) -> None:
        """Show an entry of the history."""
        line = (
            f"epoch {entry['epoch']:.2f}: validation macro-F1 {entry['macro_f1']:.4f}, "
            f"accuracy {entry['accuracy']:.4f}, loss {entry['validation_loss']:.4f} "
            f"(training {entry['train_loss']:.4f})"
        )
        if self._on_terminal:
            self._bar.write(line, file=sys.stderr)
        elif self._in_log:
            logger.info("%s", line)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.close()
