import re
import signal
import subprocess
import sys
import threading
import time
from itertools import cycle
from unittest.mock import Mock

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from components.serving.observing import payload_log
from tests.serving.observing.small_payload_log import files, ids, logged, opened, record


@pytest.fixture
def memory():
    """A name for fsspec's memory file system, empty before and after."""
    MemoryFileSystem.store.clear()
    yield "memory://log"
    MemoryFileSystem.store.clear()


class PlantedFileSystem(MemoryFileSystem):
    """A store whose writes do what a test plants."""

    protocol = "planted"
    store = {}  # noqa: RUF012 (fsspec's own form)
    pseudo_dirs = [""]  # noqa: RUF012
    planted = Mock()

    def open(self, path, mode="rb", **options):
        if "w" in mode:
            type(self).planted(path)
        return super().open(path, mode, **options)


@pytest.fixture
def sink(monkeypatch):
    """A file system that no one vouches for, and the waits between attempts cut to nothing."""
    fsspec.register_implementation("planted", PlantedFileSystem, clobber=True)
    monkeypatch.setattr(payload_log, "RETRY_AFTER_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(PlantedFileSystem, "planted", Mock())
    PlantedFileSystem.store.clear()
    return PlantedFileSystem


LOG = "planted://log"


def test_enough_rows_are_written_at_once_and_few_after_a_while(sink):
    written = threading.Semaphore(0)
    sink.planted = lambda path: written.release()
    log = opened(LOG, flush_rows=2, flush_seconds=3600.0)
    record(log, "a")
    assert not written.acquire(blocking=False)
    record(log, "b")
    assert written.acquire(timeout=10)
    log.close()
    log = opened(LOG, flush_rows=100, flush_seconds=0.01)
    record(log, "c")
    assert written.acquire(timeout=10)
    log.close()


def test_object_stores_get_the_object_whole_under_its_name(memory, monkeypatch):
    put = Mock(side_effect=MemoryFileSystem().pipe_file)
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", put)
    logged(memory, "a")
    assert put.call_count == len(MemoryFileSystem.store) == 1
    assert put.call_args.args[0].endswith(".parquet")
    assert ids(memory) == ["a"]


def test_other_stores_get_a_draft_and_its_final_name_when_whole(sink, monkeypatch):
    logged(LOG, "a")
    assert sink.planted.call_args.args[0].endswith(".parquet.draft")
    assert [path.rsplit(".", 1)[1] for path in sink.store] == ["parquet"]
    assert ids(LOG) == ["a"]

    sink.store.clear()
    monkeypatch.setattr(sink, "mv", Mock(side_effect=OSError("no renaming here")))
    assert logged(LOG, "a") == 1
    assert sink.store == {}  # No draft either.


def test_a_sink_that_fails_now_and_then_loses_and_doubles_nothing(sink):
    sink.planted = Mock(side_effect=cycle([OSError, OSError, OSError, None]))
    assert logged(LOG, *"01234", flush_rows=1) == 0
    assert ids(LOG) == list("01234")


def losses(caplog):
    """The rows lost, in each line that reports some."""
    return [int(re.search(r"answers lost: (\d+)", line.getMessage())[1]) for line in caplog.records]


def test_a_sink_that_fails_for_good_costs_rows_that_are_counted_and_reported_once(sink, caplog):
    sink.planted = Mock(side_effect=PermissionError("not yours"))
    assert logged(LOG, *["a"] * 20, flush_rows=1) == 20
    # The first loss at once, the rest when the log is closed.
    assert [len(losses(caplog)), sum(losses(caplog))] == [2, 20]
    assert "not yours" in caplog.text
    assert sink.store == {}


def test_losses_are_reported_again_after_a_minute(sink, caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(payload_log.time, "monotonic", lambda: now[0])
    log = opened(LOG, rows=0)
    for now[0] in (0.0, 1.0, 59.0, 61.0, 62.0):
        record(log)
    assert losses(caplog) == [1, 3]
    log.close()


@pytest.fixture
def hanging(sink):
    """A sink that takes nothing until it is opened; what has happened, and what opens it."""
    entered, may_go_on = threading.Event(), threading.Event()

    def hang(path):
        entered.set()
        assert may_go_on.wait(10)

    sink.planted = hang
    yield entered, may_go_on
    may_go_on.set()


@pytest.mark.parametrize("limits", [{"rows": 5}, {"characters": 60}])
def test_a_sink_that_hangs_costs_the_newest_rows_but_no_time_and_no_memory(hanging, limits):
    lost = []
    log = opened(LOG, flush_rows=1, on_dropped=lost.append, **limits)
    record(log, "0")
    assert hanging[0].wait(10)
    started = time.perf_counter()
    for number in range(1, 1001):
        record(log, str(number))
    assert time.perf_counter() - started < 1.0
    assert sum(lost) == 1001 - 5  # The row that hangs counts as being in memory.
    hanging[1].set()
    log.close()
    assert ids(LOG) == list("01234")


def test_closing_gives_up_on_a_sink_that_hangs_and_counts_what_is_lost(hanging):
    lost = []
    log = opened(LOG, flush_rows=1, on_dropped=lost.append)
    for _ in range(3):
        record(log)
    log.close(timeout=0.05)
    assert sum(lost) == 3
    record(log)
    assert sum(lost) == 4
    hanging[1].set()
    log._thread.join(10)
    assert not log._thread.is_alive()


def test_there_is_room_again_after_a_write(sink):
    lost = []
    log = opened(LOG, flush_rows=2, rows=2, on_dropped=lost.append)
    for number in range(6):
        record(log, str(number))
        deadline = time.monotonic() + 10
        while number % 2 and log._pending_rows and time.monotonic() < deadline:
            time.sleep(0.001)
    log.close()
    assert (lost, len(ids(LOG))) == ([], 6)


def test_closing_does_not_wait_for_the_next_attempt(sink, monkeypatch):
    monkeypatch.setattr(payload_log, "RETRY_AFTER_SECONDS", (3600.0,))
    failed = threading.Event()

    def never(path):
        failed.set()
        raise OSError("down")

    sink.planted = staticmethod(never)
    log = opened(LOG, flush_rows=1)
    record(log)
    assert failed.wait(10)
    log.close(timeout=10)
    assert not log._thread.is_alive()


WRITER = """
import os, signal, sys
import numpy as np
from components.serving.observing.payload_log import BufferLimits, PayloadLog
from components.serving.observing.payload_rows import Asked, PayloadRows

if sys.argv[2] == "halfway":
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
log = PayloadLog(sys.argv[1], PayloadRows("m", "1"), limits=BufferLimits(flush_rows=1))
print("ready", flush=True)
while True:
    asked = [Asked("text " * 100)]
    log.record("a", asked, np.array([2]), np.array([[0.1, 0.2, 0.7]]), np.array([False]))
"""


@pytest.mark.parametrize("when", ["halfway", "running"])
def test_a_server_killed_at_any_time_leaves_whole_files_only(tmp_path, when):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), when], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        if when == "running":
            while len(files(tmp_path)) < 5:
                assert process.poll() is None
                time.sleep(0.001)
            process.kill()
        assert process.wait(60) == -signal.SIGKILL
    if when == "halfway":
        assert files(tmp_path) == []
        assert [path for path in tmp_path.rglob("*") if path.is_file()]
    else:
        assert len(ids(tmp_path)) == len(files(tmp_path)) >= 5
