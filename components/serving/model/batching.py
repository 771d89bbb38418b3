"""Dynamic batching: requests that arrive together share forward passes.

No request waits for others to come: an idle engine starts at once, and while it computes, the
reviews that arrive gather for the next passes. They are taken in the order of arrival, a window at
a time; inside a window, reviews of like length share a pass, so that little is padded. A review
therefore never waits for more than what was there before it and the rest of its window.
"""

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BATCH_REVIEWS = 4
"""Reviews in a forward pass. A pass has a core to itself; it is kept short, so that no review waits
long for the others of its batch."""

WINDOW_BATCHES = 8
"""Batches that are formed at once, by length, out of the reviews that wait."""

_RATE_MEMORY = 0.9
# The estimate may be short by a third before an accepted request waits too long: 1 / 0.75 = 4 / 3.
_CAUTION = 0.75


class Engine(Protocol):
    """A network that turns token ids into logits; `parallel` threads may call it at once."""

    parallel: int

    def logits(self, input_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [n, classes] of n rows of token ids, unpadded, special tokens included.

        A sparse model's rows are texts; to the queue, either is work by its length.
        """
        ...


class OverloadedError(Exception):
    """The server has more work than it can do in time; `retry_after` seconds make room."""

    def __init__(self, retry_after: float) -> None:
        """Round up the seconds of work that lie before a new request."""
        self.retry_after = max(1, math.ceil(retry_after))
        super().__init__(
            f"the server has {retry_after:.1f} s of work waiting; try again in {self.retry_after} s"
        )


@dataclass(eq=False)
class _Request:
    """Reviews that came together and are answered together."""

    logits: NDArray[np.float32]  # Filled row by row.
    left: int  # Reviews without logits.
    answered: "asyncio.Future[None]"  # Set when none is left.
    arrived: float  # Clock time.
    queue_seconds: float = 0.0  # As in `Answer`.


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    logits: NDArray[np.float32]  # [n, classes]
    queue_seconds: float  # Longest time that one of its reviews waited for its forward pass.


@dataclass(eq=False)
class Batcher:
    """A bounded queue of reviews before an engine.

    Attributes:
        engine: Computes; `engine.parallel` passes run side by side.
        max_queued_reviews: No request is taken while so many reviews wait.
        max_wait_seconds: No request is taken while the work before it would take longer, and one
            that has waited longer all the same is given up: refused at once, or not answered late.
        batch_reviews: Most reviews in a forward pass.
        classes: Width of the logits.
        on_batch: Called with the reviews of each pass and the seconds that each of them waited.
        clock: Seconds that never go back.
    """

    engine: Engine
    max_queued_reviews: int = 1024
    max_wait_seconds: float = 2.0
    batch_reviews: int = BATCH_REVIEWS
    classes: int = 3
    on_batch: Callable[[int, Sequence[float]], None] = lambda reviews, seconds: None
    clock: Callable[[], float] = time.monotonic
    _waiting: "deque[tuple[_Request, int, Sequence[int]]]" = field(default_factory=deque)
    _formed: "deque[list[tuple[_Request, int, Sequence[int]]]]" = field(default_factory=deque)
    _queued_reviews: int = 0
    _queued_tokens: int = 0
    _running: int = 0
    _tokens_per_second: float = 0.0
    _passes: "set[asyncio.Future[None]]" = field(default_factory=set)

    def __post_init__(self) -> None:
        """Start the engine's threads."""
        self._threads = ThreadPoolExecutor(self.engine.parallel, thread_name_prefix="forward-pass")

    @property
    def queued_reviews(self) -> int:
        """Reviews that wait for a forward pass."""
        return self._queued_reviews

    @property
    def wait_seconds(self) -> float:
        """Estimated time until a review that arrives now is computed."""
        if not self._tokens_per_second:
            return 0.0
        return self._queued_tokens / self._tokens_per_second

    async def logits(self, input_ids: Sequence[Sequence[int]]) -> Answer:
        """Logits of the reviews of one request: n rows of token ids, unpadded.

        Raises:
            OverloadedError: If the queue is full, at once; or if the request waited too long.
        """
        wait = self.wait_seconds
        too_long = wait > _CAUTION * self.max_wait_seconds
        if self._queued_reviews >= self.max_queued_reviews or too_long:
            raise OverloadedError(wait)
        request = _Request(
            logits=np.empty((len(input_ids), self.classes), dtype=np.float32),
            left=len(input_ids),
            answered=asyncio.get_running_loop().create_future(),
            arrived=self.clock(),
        )
        self._waiting.extend((request, row, ids) for row, ids in enumerate(input_ids))
        self._queued_reviews += len(input_ids)
        self._queued_tokens += sum(map(len, input_ids))
        self._start_passes()
        await request.answered
        return Answer(request.logits, request.queue_seconds)

    def close(self) -> None:
        """End the engine's threads once what they compute is done."""
        self._threads.shutdown(wait=False)

    def _start_passes(self) -> None:
        """Keep every thread of the engine busy while reviews wait."""
        while self._running < self.engine.parallel:
            batch = self._next_batch()
            if not batch:
                return
            self._running += 1
            passing = asyncio.ensure_future(self._run(batch))
            self._passes.add(passing)  # The loop itself holds no strong reference.
            passing.add_done_callback(self._passes.discard)

    def _next_batch(self) -> list[tuple[_Request, int, Sequence[int]]]:
        """The next reviews to compute; empty where none wait."""
        while self._formed or self._waiting:
            if not self._formed:
                self._form_batches()
                continue
            batch = self._formed.popleft()
            self._queued_reviews -= len(batch)
            self._queued_tokens -= sum(len(ids) for _, _, ids in batch)
            wanted = [item for item in batch if self._still_wanted(item[0])]
            if wanted:
                return wanted
        return []

    def _form_batches(self) -> None:
        """Cut the oldest reviews into even batches of like length."""
        size = min(len(self._waiting), WINDOW_BATCHES * self.batch_reviews)
        window = [self._waiting.popleft() for _ in range(size)]
        window.sort(key=lambda item: len(item[2]))
        batches = math.ceil(size / self.batch_reviews)
        edges = [size * number // batches for number in range(batches + 1)]
        for start, end in itertools.pairwise(edges):
            self._formed.append(window[start:end])

    def _still_wanted(self, request: _Request) -> bool:
        """Whether a request still waits for its answer, and not too long already."""
        if request.answered.done():  # The client left, or another of its reviews failed.
            return False
        waited = self.clock() - request.arrived
        # A request that has begun is finished: its share of the work is done.
        if waited > self.max_wait_seconds and request.left == len(request.logits):
            request.answered.set_exception(OverloadedError(self.wait_seconds))
            return False
        return True

    async def _run(self, batch: list[tuple[_Request, int, Sequence[int]]]) -> None:
        """Compute a batch, hand out its logits, start the next."""
        started = self.clock()
        waits = [started - request.arrived for request, _, _ in batch]
        rows = [ids for _, _, ids in batch]
        try:
            logits = await asyncio.get_running_loop().run_in_executor(
                self._threads, self.engine.logits, rows
            )
            if logits.shape != (len(rows), self.classes):
                raise ValueError(f"{len(rows)} rows of logits expected, {logits.shape} came")
        except Exception as error:  # Whatever went wrong, these requests must not wait for ever.
            for request, _, _ in batch:
                if not request.answered.done():
                    request.answered.set_exception(error)
            return
        finally:
            self._running -= 1
            self._start_passes()
        self._learn_rate(sum(map(len, rows)), self.clock() - started)
        self.on_batch(len(batch), waits)
        for (request, row, _), values, waited in zip(batch, logits, waits, strict=True):
            request.logits[row] = values
            request.left -= 1
            request.queue_seconds = max(request.queue_seconds, waited)
            if not request.left and not request.answered.done():
                request.answered.set_result(None)

    def _learn_rate(self, tokens: int, seconds: float) -> None:
        """Remember how fast the engine is, recent passes counting most."""
        rate = self.engine.parallel * tokens / max(seconds, 1e-6)
        memory = _RATE_MEMORY if self._tokens_per_second else 0.0
        self._tokens_per_second = memory * self._tokens_per_second + (1 - memory) * rate
