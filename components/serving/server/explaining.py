"""Explanations beside predictions: computed in a process of its own, which gives way to them.

The gradients need torch, which the server itself does without, and as much time as a hundred
predictions. The process has a lower priority and half of the cores; it takes one review at a time,
and few may wait.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.serving.model.batching import OverloadedError
from components.serving.model.engine import cpu_limit
from components.shared.machine.errors import UserError
from components.shared.records.explainer import load_explainer
from components.shared.records.explanation import Explanation
from components.shared.records.model_folder import kind_of
from components.shared.records.sparse_model import SPARSE

if TYPE_CHECKING:
    from components.shared.records.explainer import Explainer
    from components.shared.records.occlusion import OcclusionExplainer

logger = logging.getLogger(__name__)

MOST_WAITING = 16
"""Reviews that may wait for their explanation; further requests are refused."""

_LOWER_PRIORITY = 10
_MEMORY = 0.7


class Explaining:
    """A process that explains the answers of one model folder."""

    def __init__(self, model_folder: str | Path) -> None:
        """Start the process and load the model there; raises `UserError` if that is not possible.

        A first explanation is made at once, so that the first request finds a warm model.
        """
        self._folder = str(model_folder)
        self._pool = _process()
        self._waiting = 0
        started = time.perf_counter()
        try:
            self._pool.submit(_explained, self._folder, "warm", 0).result()
            started = time.perf_counter()
            self._pool.submit(_explained, self._folder, "warm", 0).result()
        except BaseException:
            self.close()
            raise
        self._seconds = time.perf_counter() - started

    async def explain(self, texts: Sequence[str], label_ids: Sequence[int]) -> list[Explanation]:
        """Explain why these classes were decided for; a text and a class index each.

        Raises:
            OverloadedError: If too many reviews wait already.
        """
        if self._waiting + len(texts) > MOST_WAITING:
            raise OverloadedError(self._waiting * self._seconds)
        loop, pool = asyncio.get_running_loop(), self._pool
        self._waiting += len(texts)
        started = time.perf_counter()
        try:
            found = [
                await loop.run_in_executor(pool, _explained, self._folder, text, label_id)
                for text, label_id in zip(texts, label_ids, strict=True)
            ]
        except BrokenProcessPool:
            if pool is self._pool:  # the first to notice starts another
                self._pool = _process()
            raise RuntimeError("the process that explains has died; ask again") from None
        finally:
            self._waiting -= len(texts)
        seconds = (time.perf_counter() - started) / len(texts)
        self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * seconds
        return found

    def close(self) -> None:
        """End the process once it is done with what it computes."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _process() -> ProcessPoolExecutor:
    # Not forked: the server has threads, whose locks a fork would copy as they are.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_give_way)


def _give_way() -> None:
    """Make this process the lesser one: it ends with the server, and with nothing else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which means the server
    os.nice(_LOWER_PRIORITY)
    server = multiprocessing.parent_process()
    if server is not None:
        threading.Thread(target=lambda: (server.join(), os._exit(0)), daemon=True).start()


@cache
def _explainer(folder: str) -> "Explainer | OcclusionExplainer":
    try:
        if kind_of(folder) != SPARSE:
            import torch

            torch.set_num_threads(max(1, cpu_limit() // 2))
        return load_explainer(folder)
    except ImportError as error:
        raise UserError(
            f"explanations need a package that is not installed ({error.name}); install this "
            "project's extra `explaining`, or serve without --explain"
        ) from None


def _explained(folder: str, text: str, label_id: int) -> Explanation:
    """In the process: the explanation of one answer."""
    return _explainer(folder).explain(text, label_id)
