import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.serving.model.batching import WINDOW_BATCHES, Batcher, OverloadedError

PASSES_OF_THE_LOOP = 200
"""After so many, all has happened that can without the engine."""


class FakeEngine:
    """Computes when the test lets it: logits that name the row, a record of each pass."""

    name = "fake"

    def __init__(self, parallel=1, is_open=False):
        self.parallel = parallel
        self.passes = []
        self.failing = False
        self.begun = threading.Semaphore(0)
        self._gate = threading.Semaphore(10**6 if is_open else 0)

    def open(self, passes=1):
        for _ in range(passes):
            self._gate.release()

    def logits(self, input_ids):
        self.passes.append([list(ids) for ids in input_ids])
        self.begun.release()
        assert self._gate.acquire(timeout=30)
        if self.failing:
            self.failing = False
            raise RuntimeError("the engine broke")
        return np.array([[ids[0], len(ids), 0] for ids in input_ids], dtype=np.float32)


def rows(*names, length=1):
    return [[name] * length for name in names]


async def settle():
    for _ in range(PASSES_OF_THE_LOOP):
        await asyncio.sleep(0)


async def begun(engine, passes=1):
    """Wait until the engine has begun so many more passes."""
    for _ in range(passes):
        await asyncio.to_thread(engine.begun.acquire, timeout=30)
    await settle()


def first_column(answer):
    return answer.logits[:, 0].astype(int).tolist()


def run(story):
    return asyncio.run(asyncio.wait_for(story, 60))


def test_an_idle_engine_starts_at_once_and_what_comes_meanwhile_shares_the_next_pass():
    engine = FakeEngine()
    batcher = Batcher(engine)

    async def story():
        first = asyncio.create_task(batcher.logits(rows(1)))
        await begun(engine)
        others = [asyncio.create_task(batcher.logits(rows(name))) for name in (2, 3, 4)]
        await settle()
        assert batcher.queued_reviews == 3
        engine.open(2)
        return await asyncio.gather(first, *others)

    answers = run(story())
    assert engine.passes == [[[1]], [[2], [3], [4]]]
    assert [first_column(answer) for answer in answers] == [[1], [2], [3], [4]]
    assert batcher.queued_reviews == 0


def test_reviews_of_like_length_share_a_pass_and_batches_are_even():
    engine = FakeEngine()
    batcher = Batcher(engine, batch_reviews=4)

    async def story():
        first = asyncio.create_task(batcher.logits(rows(1)))
        await begun(engine)
        mixed = [[name] * length for name, length in ((2, 9), (3, 1), (4, 8), (5, 2), (6, 7))]
        second = asyncio.create_task(batcher.logits(mixed))
        await settle()
        engine.open(3)
        await first
        return await second

    answer = run(story())
    assert [[len(ids) for ids in done] for done in engine.passes[1:]] == [[1, 2], [7, 8, 9]]
    assert first_column(answer) == [2, 3, 4, 5, 6]
    assert answer.logits[:, 1].tolist() == [9, 1, 8, 2, 7]


def test_a_long_review_is_not_passed_by_those_that_come_after_its_window():
    engine = FakeEngine()
    batcher = Batcher(engine, batch_reviews=2)
    window = 2 * WINDOW_BATCHES

    async def story():
        first = asyncio.create_task(batcher.logits(rows(0)))
        await begun(engine)
        long = asyncio.create_task(batcher.logits(rows(1, length=50)))
        short = [asyncio.create_task(batcher.logits(rows(2))) for _ in range(3 * window)]
        await settle()
        engine.open(1 + WINDOW_BATCHES)
        await first
        await long
        assert sum(task.done() for task in short) < window
        engine.open(3 * window)
        await asyncio.gather(*short)

    run(story())
    assert any(len(ids) == 50 for done in engine.passes[: 1 + WINDOW_BATCHES] for ids in done)


def test_as_many_passes_run_side_by_side_as_the_engine_allows():
    engine = FakeEngine(parallel=2)
    batcher = Batcher(engine, batch_reviews=1)

    async def story():
        asked = asyncio.create_task(batcher.logits(rows(1, 2, 3)))
        await begun(engine, 2)
        assert len(engine.passes) == 2
        engine.open(3)
        return await asked

    assert first_column(run(story())) == [1, 2, 3]


def test_a_full_queue_refuses_at_once():
    engine = FakeEngine()
    batcher = Batcher(engine, max_queued_reviews=3)

    async def story():
        running = asyncio.create_task(batcher.logits(rows(1)))
        await begun(engine)
        waiting = asyncio.create_task(batcher.logits(rows(2, 3, 4)))
        await settle()
        refused = asyncio.create_task(batcher.logits(rows(5)))
        await settle()
        assert refused.done()
        assert refused.exception().retry_after >= 1
        with pytest.raises(OverloadedError, match="try again in 1 s"):
            refused.result()
        engine.open(9)
        assert first_column(await running) + first_column(await waiting) == [1, 2, 3, 4]
        return await batcher.logits(rows(6))

    assert first_column(run(story())) == [6]


def test_the_wait_is_estimated_from_the_rate_and_too_long_a_wait_is_refused():
    engine, now = FakeEngine(), [0.0]
    batcher = Batcher(engine, max_wait_seconds=2.0, batch_reviews=1, clock=lambda: now[0])

    async def story():
        first = asyncio.create_task(batcher.logits(rows(1, length=10)))
        await begun(engine)
        now[0] = 1.0  # 10 tokens in a second
        engine.open()
        await first
        assert batcher.wait_seconds == 0
        running = asyncio.create_task(batcher.logits(rows(2)))
        await begun(engine)
        waiting = asyncio.create_task(batcher.logits(rows(3, length=21)))
        await settle()
        assert batcher.wait_seconds == pytest.approx(2.1)
        with pytest.raises(OverloadedError) as refused:
            await batcher.logits(rows(4))
        assert refused.value.retry_after == 3
        engine.open(2)
        await asyncio.gather(running, waiting)

    run(story())
    assert [4] not in [ids for done in engine.passes for ids in done]


def test_the_rate_counts_all_threads_and_follows_recent_passes():
    now = [0.0]
    batcher = Batcher(FakeEngine(parallel=2), clock=lambda: now[0])
    batcher._learn_rate(100, 1.0)
    assert batcher._tokens_per_second == 200
    batcher._learn_rate(50, 1.0)
    assert batcher._tokens_per_second == pytest.approx(190)


def test_what_waited_too_long_is_given_up_but_what_has_begun_is_finished():
    engine, now = FakeEngine(), [0.0]
    batcher = Batcher(engine, max_wait_seconds=2.0, batch_reviews=2, clock=lambda: now[0])

    async def story():
        begun_one = asyncio.create_task(batcher.logits(rows(1, 2, 3, 4, 5)))
        await begun(engine)
        late = asyncio.create_task(batcher.logits(rows(6)))
        await settle()
        engine.open()
        await begun(engine)
        now[0] = 2.5
        engine.open(5)
        with pytest.raises(OverloadedError):
            await late
        return await begun_one

    assert first_column(run(story())) == [1, 2, 3, 4, 5]
    assert [6] not in [ids for done in engine.passes for ids in done]


def test_a_client_that_left_costs_no_pass():
    engine = FakeEngine()
    batcher = Batcher(engine)

    async def story():
        running = asyncio.create_task(batcher.logits(rows(1)))
        await begun(engine)
        leaves = asyncio.create_task(batcher.logits(rows(2, 3)))
        await settle()
        leaves.cancel()
        engine.open(9)
        await running
        await settle()
        assert batcher.queued_reviews == 0
        return await batcher.logits(rows(4))

    assert first_column(run(story())) == [4]
    assert engine.passes == [[[1]], [[4]]]


def test_an_engine_that_fails_fails_its_own_requests_only():
    engine = FakeEngine()
    batcher = Batcher(engine)

    async def story():
        first = asyncio.create_task(batcher.logits(rows(1)))
        await begun(engine)
        second = asyncio.create_task(batcher.logits(rows(2)))
        await settle()
        engine.failing = True
        engine.open()
        with pytest.raises(RuntimeError, match="the engine broke"):
            await first
        engine.open(5)
        return await second, await batcher.logits(rows(3))

    assert [first_column(answer) for answer in run(story())] == [[2], [3]]


def test_an_engine_that_answers_too_few_rows_leaves_nobody_waiting():
    engine = FakeEngine(is_open=True)
    whole = engine.logits
    engine.logits = lambda input_ids: whole(input_ids)[1:]
    batcher = Batcher(engine)

    async def story():
        with pytest.raises(ValueError, match="2 rows of logits expected"):
            await batcher.logits(rows(1, 2))
        engine.logits = whole
        return await batcher.logits(rows(3))

    assert first_column(run(story())) == [3]


def test_passes_and_waits_are_reported():
    engine, now, reported = FakeEngine(), [0.0], []
    batcher = Batcher(engine, clock=lambda: now[0], on_batch=lambda *batch: reported.append(batch))

    async def story():
        first = asyncio.create_task(batcher.logits(rows(1)))
        await begun(engine)
        second = asyncio.create_task(batcher.logits(rows(2, 3)))
        await settle()
        now[0] = 0.5
        engine.open(2)
        return await first, await second

    first, second = run(story())
    assert reported == [(1, [0.0]), (2, [0.5, 0.5])]
    assert (first.queue_seconds, second.queue_seconds) == (0.0, 0.5)


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
def test_each_request_gets_its_own_rows_in_order(requests, pauses, batch_reviews, parallel):
    engine = FakeEngine(parallel, is_open=True)
    batcher = Batcher(
        engine, batch_reviews=batch_reviews, max_queued_reviews=10**6, max_wait_seconds=1e6
    )

    async def story():
        tasks = []
        for number, ((lengths, leaves), pause) in enumerate(zip(requests, pauses, strict=False)):
            asked = [[1000 * number + row] * length for row, length in enumerate(lengths)]
            tasks.append(asyncio.create_task(batcher.logits(asked)))
            for _ in range(pause):
                await asyncio.sleep(0)
            if leaves:
                tasks[-1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run(story())
    for number, ((lengths, leaves), answer) in enumerate(zip(requests, answers, strict=True)):
        if leaves and isinstance(answer, asyncio.CancelledError):
            continue
        assert first_column(answer) == [1000 * number + row for row in range(len(lengths))]
        assert answer.logits[:, 1].tolist() == lengths
    assert batcher.queued_reviews == 0
    assert batcher._queued_tokens == 0
    assert all(len(done) <= batch_reviews for done in engine.passes)
    batcher.close()
