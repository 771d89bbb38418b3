"""What a person sees while training runs: its speed, as a bar on a terminal or lines in a log."""

import logging
import sys
import time

import numpy as np
from numpy.typing import NDArray

SECONDS_BETWEEN_LINES = 15.0

logger = logging.getLogger(__name__)


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
