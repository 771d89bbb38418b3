"""Ending in order when the machine is taken away: SIGTERM waits for the end of a step."""

import signal
import threading
from types import FrameType, TracebackType

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that ended on request, as a shell reports SIGTERM. It is not 0, so that
whatever keeps the run alive starts it again."""


class Termination:
    """Within it, SIGTERM does not end the process but is noted. A context manager.

    Outside the main thread, which alone may handle signals, it changes nothing.

    Attributes:
        asked: Whether SIGTERM has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._in_main_thread = False

    def _note(self, _: int, __: FrameType | None) -> None:
        self.asked = True

    def __enter__(self) -> "Termination":
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGTERM, self._before)
