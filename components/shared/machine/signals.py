"""SIGTERM, which asks a process to end: what to do about it for as long as a body runs."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    """Call the action at SIGTERM while the body runs; the handler before it comes back after.

    Only the main thread may handle signals: elsewhere the body runs as if nothing were asked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
