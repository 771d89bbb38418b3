import hashlib
import logging
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.contracts.errors import UserError
from components.contracts.labels import CLASS_NAMES
from components.contracts.payloads import PAYLOAD_SCHEMA, read_payloads
from components.serving import payload_log
from components.serving.payload_log import PayloadLog

CHANCES = np.array([[0.1, 0.2, 0.7]])


def opened(uri, **changes):
    options = {"model_name": "reviews", "model_version": "7", **changes}
    return PayloadLog(str(uri), **options)


def record(log, request_id="a", text="lovely dress"):
    log.record(request_id, [text], np.array([2]), CHANCES, np.array([False]))


def files(folder):
    return sorted(Path(folder).rglob("*.parquet"))


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
    planted = staticmethod(lambda path: None)

    def open(self, path, mode="rb", **options):
        if "w" in mode:
            type(self).planted(path)
        return super().open(path, mode, **options)


@pytest.fixture
def sink(monkeypatch):
    """A file system that no one vouches for, and the waits between attempts cut to nothing."""
    fsspec.register_implementation("planted", PlantedFileSystem, clobber=True)
    monkeypatch.setattr(payload_log, "RETRY_AFTER_SECONDS", (0.0, 0.0, 0.0))
    PlantedFileSystem.store.clear()
    yield PlantedFileSystem
    PlantedFileSystem.planted = staticmethod(lambda path: None)


ANSWERS = st.lists(
    st.tuples(
        st.text(st.characters(), max_size=10),
        st.lists(
            st.tuples(
                st.text(st.characters(), max_size=30),
                st.integers(0, 2),
                st.tuples(*[st.floats(0, 1, width=32)] * 3),
                st.booleans(),
            ),
            max_size=4,
        ),
    ),
    max_size=6,
)


@settings(max_examples=50, deadline=None)
# Lone surrogates have no UTF-8.
@example([("\ud800", [("a \udfff", 1, (0.5, 0.25, 0.25), True)])], True, 1)
@given(ANSWERS, st.booleans(), st.integers(1, 8))
def test_what_is_recorded_is_read_back(answers, keep_texts, flush_rows):
    with tempfile.TemporaryDirectory() as folder:
        log = opened(folder, keep_texts=keep_texts, flush_rows=flush_rows)
        expected = []
        for request_id, rows in answers:
            texts = [text for text, _, _, _ in rows]
            log.record(
                request_id,
                texts,
                np.array([index for _, index, _, _ in rows], dtype=np.int64),
                np.array([chances for _, _, chances, _ in rows], dtype=np.float64).reshape(-1, 3),
                np.array([cut for _, _, _, cut in rows], dtype=bool),
            )
            for position, (text, index, chances, cut) in enumerate(rows):
                known = text.encode("utf-8", "replace")
                expected.append(
                    {
                        "request_id": request_id.encode("utf-8", "replace").decode(),
                        "position": position,
                        "model_name": "reviews",
                        "model_version": "7",
                        "text_sha256": hashlib.sha256(known).hexdigest(),
                        "text": known.decode() if keep_texts else None,
                        "label": CLASS_NAMES[index],
                        **dict(
                            zip(("p_negative", "p_neutral", "p_positive"), chances, strict=True)
                        ),
                        "truncated": cut,
                    }
                )
        log.close()
        table = read_payloads(folder)
        assert table.schema == PAYLOAD_SCHEMA

        def in_order(row):
            return (row["request_id"], row["position"], row["text_sha256"], repr(row))

        found = table.drop_columns(["time"]).to_pylist()
        assert sorted(found, key=in_order) == sorted(expected, key=in_order)


def test_a_file_has_the_schema_a_day_and_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTNAME", "predictor-0/../x")
    before = datetime.now(UTC)
    for _ in range(2):
        log = opened(tmp_path)
        record(log)
        log.close()
    one, other = files(tmp_path)
    assert one.name != other.name
    for path in (one, other):
        assert re.fullmatch(r"\d{6}-predictor-0_.._x-[0-9a-f]{32}\.parquet", path.name)
        assert pq.read_schema(path).equals(PAYLOAD_SCHEMA)
        (moment,) = pq.read_table(path, partitioning=None)["time"].to_pylist()
        assert before <= moment <= datetime.now(UTC)
        assert path.parent.name == f"date={moment.date()}"
        assert path.name.startswith(f"{moment:%H%M%S}-")


def test_what_arrow_imports_is_there_before_the_first_answer(tmp_path):
    code = """
import sys
from components.serving.payload_log import PayloadLog

log = PayloadLog(sys.argv[1], model_name="m", model_version="1")
log.close(60)
print("pyarrow.parquet" in sys.modules, "pandas" in sys.modules)
"""
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["True", "True"]
    assert files(tmp_path) == []


def test_the_days_of_a_batch_are_parted(tmp_path, monkeypatch):
    midnight = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 10**9
    moments = iter([midnight - 1000, midnight])
    monkeypatch.setattr(payload_log.time, "time_ns", lambda: next(moments))
    log = opened(tmp_path)
    record(log, "yesterday")
    record(log, "today")
    log.close()
    folders = [path.parent.name for path in files(tmp_path)]
    assert folders == ["date=2026-11-20", "date=2026-11-21"]
    assert read_payloads(str(tmp_path))["request_id"].to_pylist() == ["yesterday", "today"]


def test_enough_rows_are_written_at_once_and_few_after_a_while(sink):
    written = threading.Semaphore(0)
    sink.planted = staticmethod(lambda path: written.release())
    log = opened("planted://log", flush_rows=2, flush_seconds=3600.0)
    record(log, "a")
    assert not written.acquire(blocking=False)
    record(log, "b")
    assert written.acquire(timeout=10)
    log.close()
    log = opened("planted://log", flush_rows=100, flush_seconds=0.01)
    record(log, "c")
    assert written.acquire(timeout=10)
    log.close()


def test_texts_are_not_kept_unless_asked(tmp_path):
    log = opened(tmp_path)
    record(log, text="lovely dress")
    log.close()
    (path,) = files(tmp_path)
    assert b"lovely" not in path.read_bytes()
    (digest,) = read_payloads(str(tmp_path))["text_sha256"].to_pylist()
    assert digest == hashlib.sha256(b"lovely dress").hexdigest()


def test_object_stores_get_the_object_whole_under_its_name(memory, monkeypatch):
    put = []
    plain = MemoryFileSystem.pipe_file

    def pipe_file(self, path, value, **options):
        put.append(path)
        return plain(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    log = opened(memory)
    record(log)
    log.close()
    assert len(put) == len(MemoryFileSystem.store) == 1
    assert put[0].endswith(".parquet")
    assert read_payloads(memory)["request_id"].to_pylist() == ["a"]


def test_other_stores_get_a_draft_and_its_final_name_when_whole(sink):
    opened_paths = []
    sink.planted = staticmethod(opened_paths.append)
    log = opened("planted://log")
    record(log)
    log.close()
    assert opened_paths[0].endswith(".parquet.draft")
    assert [path.rsplit(".", 1)[1] for path in sink.store] == ["parquet"]
    assert len(read_payloads("planted://log")) == 1


def test_a_sink_that_fails_now_and_then_loses_and_doubles_nothing(sink):
    attempts = count(1)

    def sometimes(path):
        if next(attempts) % 4:
            raise OSError("try again")

    sink.planted = staticmethod(sometimes)
    lost = []
    log = opened("planted://log", flush_rows=1, dropped=lost.append)
    for number in range(5):
        record(log, str(number))
    log.close()
    assert read_payloads("planted://log")["request_id"].to_pylist() == list("01234")
    assert lost == []


def test_a_sink_that_fails_for_good_costs_rows_that_are_counted_and_told_once(sink, caplog):
    def never(path):
        raise PermissionError("not yours")

    sink.planted = staticmethod(never)
    lost = []
    log = opened("planted://log", flush_rows=1, dropped=lost.append)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            record(log)
        log.close()
    assert sum(lost) == 20
    told = [record.getMessage() for record in caplog.records]
    # The first loss at once, the rest when the log is closed.
    assert len(told) == 2
    assert sum(int(re.search(r"answers lost: (\d+)", line)[1]) for line in told) == 20
    assert "not yours" in told[0]
    assert sink.store == {}


def test_no_draft_is_left_of_an_attempt_that_failed(sink, monkeypatch):
    def fail(self, *paths, **options):
        raise OSError("no renaming here")

    monkeypatch.setattr(sink, "mv", fail)
    log = opened("planted://log")
    record(log)
    log.close()
    assert sink.store == {}


def test_rows_that_cannot_be_encoded_do_not_end_the_log(tmp_path, caplog):
    lost = []
    log = opened(tmp_path, flush_rows=1, dropped=lost.append)
    log.record("a", ["x"], np.array([9]), CHANCES, np.array([False]))
    record(log, "b")
    log.close()
    assert lost == [1]
    assert "no rows of the schema" in caplog.text
    assert read_payloads(str(tmp_path))["request_id"].to_pylist() == ["b"]


def test_losses_are_told_again_after_a_minute(sink, caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(payload_log.time, "monotonic", lambda: now[0])
    log = opened("planted://log", max_pending_rows=0)
    with caplog.at_level(logging.WARNING):
        for moment in (0.0, 1.0, 59.0, 61.0, 62.0):
            now[0] = moment
            record(log)
    told = [re.search(r"answers lost: (\d+)", line.getMessage())[1] for line in caplog.records]
    assert told == ["1", "3"]
    log.close()


@pytest.mark.parametrize(
    ("limits", "kept"),
    [({"max_pending_rows": 5}, 5), ({"max_pending_characters": 60}, 5)],
)
def test_a_sink_that_hangs_costs_the_newest_rows_but_no_time_and_no_memory(sink, limits, kept):
    entered, opened_again = threading.Event(), threading.Event()

    def hang(path):
        entered.set()
        assert opened_again.wait(10)

    sink.planted = staticmethod(hang)
    lost = []
    log = opened("planted://log", flush_rows=1, dropped=lost.append, **limits)
    record(log, "0")
    assert entered.wait(10)
    started = time.perf_counter()
    for number in range(1, 1001):
        record(log, str(number))
    assert time.perf_counter() - started < 1.0
    # The row that hangs counts as being in memory.
    assert sum(lost) == 1001 - kept
    opened_again.set()
    log.close()
    assert read_payloads("planted://log")["request_id"].to_pylist() == list("01234")


def test_there_is_room_again_after_a_write(sink):
    lost = []
    log = opened("planted://log", flush_rows=2, max_pending_rows=2, dropped=lost.append)
    written = threading.Semaphore(0)
    move = sink.mv

    def moved(self, *paths, **options):
        move(self, *paths, **options)
        written.release()

    sink.mv = moved
    try:
        for number in range(3):
            record(log, f"{number}a")
            record(log, f"{number}b")
            assert written.acquire(timeout=10)
            while log._pending_rows:
                time.sleep(0.001)
    finally:
        sink.mv = move
    log.close()
    assert lost == []
    assert len(read_payloads("planted://log")) == 6


def test_closing_gives_up_on_a_sink_that_hangs_and_counts_what_is_lost(sink):
    opened_again = threading.Event()
    sink.planted = staticmethod(lambda path: opened_again.wait(10))
    lost = []
    log = opened("planted://log", flush_rows=1, dropped=lost.append)
    for _ in range(3):
        record(log)
    log.close(timeout=0.05)
    assert sum(lost) == 3
    record(log)
    assert sum(lost) == 4
    opened_again.set()
    log._thread.join(10)
    assert not log._thread.is_alive()


def test_closing_does_not_wait_for_the_next_attempt(sink, monkeypatch):
    monkeypatch.setattr(payload_log, "RETRY_AFTER_SECONDS", (3600.0,))
    failed = threading.Event()

    def never(path):
        failed.set()
        raise OSError("down")

    sink.planted = staticmethod(never)
    log = opened("planted://log", flush_rows=1)
    record(log)
    assert failed.wait(10)
    log.close(timeout=10)
    assert not log._thread.is_alive()


def test_after_closing_nothing_is_taken_and_closing_twice_is_no_error(tmp_path):
    lost = []
    log = opened(tmp_path, dropped=lost.append)
    record(log, "a")
    log.close()
    log.close()
    record(log, "b")
    assert lost == [1]
    assert not log._answers
    assert read_payloads(str(tmp_path))["request_id"].to_pylist() == ["a"]


def test_an_answer_that_is_none_costs_itself_alone(tmp_path):
    lost = []
    log = opened(tmp_path, dropped=lost.append)
    log.record("a", ["x", "y"], np.array([2]), CHANCES, np.array([False]))
    log.record("b", [None], np.array([2]), CHANCES, np.array([False]))
    log.record("c", ["x"], object(), CHANCES, np.array([False]))
    log.record("d", [], np.array([]), np.empty((0, 3)), np.array([]))
    record(log, "e")
    log.close()
    assert lost == [2, 1, 1]
    assert read_payloads(str(tmp_path))["request_id"].to_pylist() == ["e"]


def test_memory_of_the_engine_may_be_used_again(tmp_path):
    chances = CHANCES.copy()
    classes = np.array([2])
    log = opened(tmp_path)
    log.record("a", ["x"], classes, chances, np.array([False]))
    chances[:] = 0
    classes[:] = 0
    log.close()
    (row,) = read_payloads(str(tmp_path)).to_pylist()
    assert row["label"] == "positive"
    assert row["p_positive"] == pytest.approx(0.7)


def test_a_metric_that_fails_does_not_reach_the_request(tmp_path):
    def fail(rows):
        raise RuntimeError

    log = opened(tmp_path, max_pending_rows=0, dropped=fail)
    record(log)
    log.close()


def test_many_threads_lose_nothing(tmp_path):
    log = opened(tmp_path, flush_rows=50)

    def ask(thread):
        for number in range(200):
            record(log, f"{thread}-{number}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = read_payloads(str(tmp_path))["request_id"].to_pylist()
    assert sorted(found) == sorted(f"{a}-{b}" for a in range(4) for b in range(200))


def test_a_uri_that_cannot_be_used_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for uri, word in (
        ("unheard://of", "unheard"),
        (f"{tmp_path}/file/log", "file/log"),
        ("s3://key:secret@bucket/log", "password"),
    ):
        with pytest.raises(UserError, match=word) as refused:
            opened(uri)
        assert "secret" not in str(refused.value)


WRITER = """
import os, signal, sys
import numpy as np
from components.serving.payload_log import PayloadLog

if sys.argv[2] == "halfway":
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
log = PayloadLog(sys.argv[1], model_name="m", model_version="1", flush_rows=1, keep_texts=True)
print("ready", flush=True)
while True:
    log.record("a", ["text " * 100], np.array([2]), np.array([[0.1, 0.2, 0.7]]), np.array([False]))
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
        assert len(read_payloads(str(tmp_path))) == len(files(tmp_path)) >= 5
