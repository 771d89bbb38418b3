import asyncio
import functools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.serving.model.batching import WINDOW_BATCHES, Batcher, OverloadedError


class FakeEngine:
    """Computes when the test lets it: logits that name the row, a record of each pass."""

    name = "fake"

    def __init__(self, parallel=1, is_open=False):
        self.parallel = parallel
        self.passes = []
        self.spoil = None  # Gives the next pass's answer.
        self.begun = threading.Semaphore(0)
        self._gate = threading.Semaphore(10**6 if is_open else 0)

    def open(self, passes=1):
        self._gate.release(passes)

    def logits(self, input_ids):
        self.passes.append([list(ids) for ids in input_ids])
        self.begun.release()
        assert self._gate.acquire(timeout=30)
        if self.spoil:
            spoil, self.spoil = self.spoil, None
            return spoil(input_ids)
        return np.array([[ids[0], len(ids), 0] for ids in input_ids], dtype=np.float32)


def rows(*names, length=1):
    return [[name] * length for name in names]


def story(test):
    """Run an asynchronous test, for a minute at most."""

    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(asyncio.wait_for(test(*arguments, **named), 60))

    return run


async def begun(engine, passes=1):
    """Wait until the engine has begun so many more passes, and all has happened besides."""
    for _ in range(passes):
        await asyncio.to_thread(engine.begun.acquire, timeout=30)
    for _ in range(200):
        await asyncio.sleep(0)


async def asked(batcher, input_ids, passes=0):
    """A request that has been taken, or refused, and whose first passes have begun."""
    task = asyncio.create_task(batcher.logits(input_ids))
    await begun(batcher.engine, passes)
    return task


def first_column(answer):
    return answer.logits[:, 0].astype(int).tolist()


@story
async def test_an_idle_engine_starts_at_once_and_what_comes_meanwhile_shares_the_next_pass():
    engine = FakeEngine()
    batcher = Batcher(engine)
    first = await asked(batcher, rows(1), passes=1)
    others = [await asked(batcher, rows(name)) for name in (2, 3, 4)]
    assert batcher.queued_reviews == 3
    engine.open(2)
    answers = await asyncio.gather(first, *others)
    assert engine.passes == [[[1]], [[2], [3], [4]]]
    assert [first_column(answer) for answer in answers] == [[1], [2], [3], [4]]
    assert batcher.queued_reviews == 0


@story
async def test_reviews_of_like_length_share_a_pass_and_batches_are_even():
    engine = FakeEngine()
    batcher = Batcher(engine, batch_reviews=4)
    first = await asked(batcher, rows(1), passes=1)
    mixed = [[name] * length for name, length in ((2, 9), (3, 1), (4, 8), (5, 2), (6, 7))]
    second = await asked(batcher, mixed)
    engine.open(3)
    await first
    answer = await second
    assert [[len(ids) for ids in done] for done in engine.passes[1:]] == [[1, 2], [7, 8, 9]]
    assert first_column(answer) == [2, 3, 4, 5, 6]
    assert answer.logits[:, 1].tolist() == [9, 1, 8, 2, 7]


@story
async def test_a_long_review_is_not_passed_by_those_that_come_after_its_window():
    engine = FakeEngine()
    batcher = Batcher(engine, batch_reviews=2)
    window = 2 * WINDOW_BATCHES
    first = await asked(batcher, rows(0), passes=1)
    long = await asked(batcher, rows(1, length=50))
    short = [await asked(batcher, rows(2)) for _ in range(3 * window)]
    engine.open(1 + WINDOW_BATCHES)
    await first
    await long
    assert sum(task.done() for task in short) < window
    engine.open(3 * window)
    await asyncio.gather(*short)
    assert [len(ids) for ids in engine.passes[WINDOW_BATCHES]] == [1, 50]  # The window's last.


@story
async def test_as_many_passes_run_side_by_side_as_the_engine_allows():
    engine = FakeEngine(parallel=2)
    request = await asked(Batcher(engine, batch_reviews=1), rows(1, 2, 3), passes=2)
    assert len(engine.passes) == 2
    engine.open(3)
    assert first_column(await request) == [1, 2, 3]


@story
async def test_a_full_queue_refuses_at_once():
    engine = FakeEngine()
    batcher = Batcher(engine, max_queued_reviews=3)
    running = await asked(batcher, rows(1), passes=1)
    waiting = await asked(batcher, rows(2, 3, 4))
    refused = await asked(batcher, rows(5))
    assert refused.done()
    assert refused.exception().retry_after >= 1
    with pytest.raises(OverloadedError, match="try again in 1 s"):
        refused.result()
    engine.open(9)
    assert first_column(await running) + first_column(await waiting) == [1, 2, 3, 4]
    assert first_column(await batcher.logits(rows(6))) == [6]


@story
async def test_the_wait_is_estimated_from_the_rate_and_too_long_a_wait_is_refused():
    engine, now = FakeEngine(), [0.0]
    batcher = Batcher(engine, max_wait_seconds=2.0, batch_reviews=1, clock=lambda: now[0])
    first = await asked(batcher, rows(1, length=10), passes=1)
    now[0] = 1.0  # 10 tokens in a second
    engine.open()
    await first
    assert batcher.wait_seconds == 0
    running = await asked(batcher, rows(2), passes=1)
    waiting = await asked(batcher, rows(3, length=21))
    assert batcher.wait_seconds == pytest.approx(2.1)
    with pytest.raises(OverloadedError) as refused:
        await batcher.logits(rows(4))
    assert refused.value.retry_after == 3
    engine.open(2)
    await asyncio.gather(running, waiting)
    assert [4] not in [ids for done in engine.passes for ids in done]


def test_the_rate_counts_all_threads_and_follows_recent_passes():
    batcher = Batcher(FakeEngine(parallel=2))
    batcher._learn_rate(100, 1.0)
    assert batcher._tokens_per_second == 200
    batcher._learn_rate(50, 1.0)
    assert batcher._tokens_per_second == pytest.approx(190)


@story
async def test_what_waited_too_long_is_given_up_but_what_has_begun_is_finished():
    engine, now = FakeEngine(), [0.0]
    batcher = Batcher(engine, max_wait_seconds=2.0, batch_reviews=2, clock=lambda: now[0])
    begun_one = await asked(batcher, rows(1, 2, 3, 4, 5), passes=1)
    late = await asked(batcher, rows(6))
    engine.open()
    await begun(engine)
    now[0] = 2.5
    engine.open(5)
    with pytest.raises(OverloadedError):
        await late
    assert first_column(await begun_one) == [1, 2, 3, 4, 5]
    assert [6] not in [ids for done in engine.passes for ids in done]


@story
async def test_a_client_that_left_costs_no_pass():
    engine = FakeEngine()
    batcher = Batcher(engine)
    running = await asked(batcher, rows(1), passes=1)
    leaves = await asked(batcher, rows(2, 3))
    leaves.cancel()
    engine.open(9)
    await running
    await begun(engine, 0)
    assert batcher.queued_reviews == 0
    assert first_column(await batcher.logits(rows(4))) == [4]
    assert engine.passes == [[[1]], [[4]]]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda input_ids: 1 / 0, "division by zero"),
        (lambda input_ids: np.zeros((1, 3)), r"2 rows of logits expected, \(1, 3\) came"),
    ],
)
@story
async def test_an_engine_that_fails_fails_its_own_requests_only(spoil, reason):
    engine = FakeEngine()
    batcher = Batcher(engine)
    first = await asked(batcher, rows(1, 2), passes=1)
    second = await asked(batcher, rows(3))
    engine.spoil = spoil
    engine.open(9)
    with pytest.raises((ArithmeticError, ValueError), match=reason):
        await first
    answers = await second, await batcher.logits(rows(4))
    assert [first_column(answer) for answer in answers] == [[3], [4]]


@story
async def test_passes_and_waits_are_reported():
    engine, now, reported = FakeEngine(), [0.0], []
    batcher = Batcher(engine, clock=lambda: now[0], on_batch=lambda *batch: reported.append(batch))
    first = await asked(batcher, rows(1), passes=1)
    second = await asked(batcher, rows(2, 3))
    now[0] = batcher.max_wait_seconds  # Which is not too long.
    engine.open(2)
    answers = await first, await second
    assert reported == [(1, [0.0]), (2, [2.0, 2.0])]
    assert [answer.queue_seconds for answer in answers] == [0.0, 2.0]


@settings(max_examples=40, deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    pauses=st.lists(st.integers(0, 5), min_size=12, max_size=12),
    batch_reviews=st.integers(1, 5),
    parallel=st.integers(1, 3),
)
@story
async def test_each_request_gets_its_own_rows_in_order(requests, pauses, batch_reviews, parallel):
    engine = FakeEngine(parallel, is_open=True)
    limits = {"max_queued_reviews": 10**6, "max_wait_seconds": 1e6}
    batcher = Batcher(engine, batch_reviews=batch_reviews, **limits)
    tasks = []
    for number, ((lengths, leaves), pause) in enumerate(zip(requests, pauses, strict=False)):
        input_ids = [[1000 * number + row] * length for row, length in enumerate(lengths)]
        tasks.append(asyncio.create_task(batcher.logits(input_ids)))
        for _ in range(pause):
            await asyncio.sleep(0)
        if leaves:
            tasks[-1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, ((lengths, leaves), answer) in enumerate(zip(requests, answers, strict=True)):
        if leaves and isinstance(answer, asyncio.CancelledError):
            continue
        assert first_column(answer) == [1000 * number + row for row in range(len(lengths))]
        assert answer.logits[:, 1].tolist() == lengths
    async with asyncio.timeout(5):  # What was cancelled leaves the queue with the next pass.
        while batcher.queued_reviews:
            await asyncio.sleep(0)
    assert batcher._queued_tokens == 0
    assert all(len(done) <= batch_reviews for done in engine.passes)
    batcher.close()
