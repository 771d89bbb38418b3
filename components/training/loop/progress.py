"""What a person sees while training runs: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from types import TracebackType

SECONDS_BETWEEN_LINES = 15.0

logger = logging.getLogger(__name__)


class TrainingProgress:
    """Loss, rate and time left, step by step. A context manager."""

    def __init__(self, steps: int, done: int = 0, shown: bool = True) -> None:
        """Begin to show.

        Args:
            steps: All steps of the run.
            done: Steps done before, by the run that this one goes on from.
            shown: Whether this process shows anything; of several, one should.
        """
        from tqdm import tqdm

        self._steps = steps
        self._done = done
        self._begun_at = done
        self._begun = self._shown = time.monotonic()
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
        """Show one more step.

        Args:
            loss: Recent mean training loss.
            samples_per_second: Mean rate.
        """
        self._done += 1
        self._bar.set_postfix(loss=f"{loss:.3f}", rate=f"{samples_per_second:.0f}/s", refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._in_log and now - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = now
            left = (now - self._begun) * (self._steps - self._done) / (self._done - self._begun_at)
            logger.info(
                "step %d of %d, loss %.3f, %.0f reviews/s, %d:%02d left",
                *(self._done, self._steps, loss, samples_per_second, left // 60, left % 60),
            )

    def evaluation(self, found: dict[str, float]) -> None:
        """Show a look at the validation split."""
        line = (
            f"epoch {found['epoch']:.2f}: validation macro-F1 {found['macro_f1']:.4f}, "
            f"accuracy {found['accuracy']:.4f}, loss {found['validation_loss']:.4f} "
            f"(training {found['train_loss']:.4f})"
        )
        if self._on_terminal:
            self._bar.write(line, file=sys.stderr)
        elif self._in_log:
            logger.info("%s", line)

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
