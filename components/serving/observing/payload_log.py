"""Every answer, as rows of Parquet on any fsspec URI, without ever making a request wait."""

import itertools
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from components.serving.observing.payload_rows import Answer, Asked, PayloadRows
from components.shared.machine.errors import UserError
from components.shared.records.payloads import check_no_password, day_folder

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: tuple[float, ...] = (0.5, 1.0, 2.0)
"""Waits between the attempts to write a file; after the last attempt its rows are dropped."""

REPORT_EVERY_SECONDS = 60.0
"""Dropped rows are reported in the server's log at most this often."""

_WHOLE_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Stores in which an object is there whole or not at all; elsewhere a rename makes it so."""


@dataclass(frozen=True)
class BufferLimits:
    """How much a payload log holds in memory, and when it writes."""

    rows: int = 20_000  # Those being written included.
    characters: int = 16_000_000  # Of what was asked.
    flush_rows: int = 5_000  # Written at once.
    flush_seconds: float = 30.0  # Longest wait before fewer are written.


class PayloadLog:
    """Writes answers to Parquet files in the background.

    `record` puts an answer in a bounded buffer and returns; a thread writes the files. Memory is
    bounded whatever the sink does: what finds no room is dropped, newest first, counted, and
    reported once a minute. What was accepted is written in order, or dropped after a few attempts.

    A file has its final name only once it is whole, and a name that no other server or restart
    gives: `date=YYYY-MM-DD/HHMMSS-<host>-<uuid>.parquet`. An attempt that is repeated writes the
    same name, so that an answer is not logged twice where only the confirmation was lost.
    """

    def __init__(
        self,
        uri: str,
        rows: PayloadRows,
        *,
        limits: BufferLimits | None = None,
        on_dropped: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """Open the log and start its thread. An object store is not asked before the first file.

        The URI is a folder or object prefix, any that fsspec writes; credentials come from the
        environment, never in the URI. `on_dropped` gets the number of rows dropped, from any
        thread; for a metric.

        Raises:
            UserError: If the URI holds a password, its kind is not known or not installed, or it is
                a folder that cannot be made.
        """
        self._uri = check_no_password(uri)
        self._files, self._root = _opened(uri)
        self._rows = rows
        self._limits = limits or BufferLimits()
        self._count_dropped = on_dropped
        host = os.environ.get("HOSTNAME") or socket.gethostname() or "server"
        self._host = re.sub(r"[^A-Za-z0-9.-]", "_", host)[:63]

        self._lock = threading.Lock()
        self._answers: deque[Answer] = deque()
        self._waiting_rows = 0
        self._pending_rows = 0
        self._pending_characters = 0
        self._unreported = 0
        self._reported_at = float("-inf")
        self._enough = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payload-log", daemon=True)
        self._thread.start()

    def record(
        self,
        request_id: str,
        asked: Sequence[Asked],
        classes: ArrayLike,
        probabilities: ArrayLike,
        truncated: ArrayLike,
    ) -> None:
        """Take an answered request into the buffer. Never blocks, never raises.

        What was asked [n] must not be changed afterwards; the class indices [n], the calibrated
        probabilities [n, classes] and whether each text was cut [n] are copied.
        """
        rows = len(asked)
        if not rows:
            return
        try:
            predicted = (np.asarray(part).tolist() for part in (classes, probabilities, truncated))
            characters = sum(one.characters for one in asked)
            whole = list(zip(asked, *predicted, strict=True))
            answer = Answer(time.time_ns() // 1000, request_id, whole, characters)
        except Exception as error:
            self._drop(rows, f"an answer could not be taken: {error!r}")
            return
        limits = self._limits
        with self._lock:
            # Looked up under the lock: after `close` has said so, nothing is accepted.
            closed = self._closing.is_set()
            full = (
                self._pending_rows + rows > limits.rows
                or self._pending_characters + characters > limits.characters
            )
            if not closed and not full:
                self._answers.append(answer)
                self._waiting_rows += rows
                self._pending_rows += rows
                self._pending_characters += characters
                enough = self._waiting_rows >= limits.flush_rows
        if closed or full:
            self._drop(rows, "it is closed" if closed else "its sink is slow, the buffer is full")
        elif enough and not self._enough.is_set():
            self._enough.set()

    def close(self, timeout: float = 10.0) -> None:
        """Write what is there; what takes longer than `timeout` seconds counts as dropped."""
        with self._lock:
            self._closing.set()
        self._enough.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            with self._lock:
                left, self._pending_rows = self._pending_rows, 0
                self._waiting_rows = self._pending_characters = 0
                self._answers.clear()
            self._drop(left, f"its sink did not take them within {timeout:g} s of closing")
        self._report("dropped before closing", at_once=True)

    def _run(self) -> None:
        """Write batches until closed and empty."""
        # What Arrow imports at its first table (pandas) takes its time: now, while the server
        # starts, not under load.
        self._rows.parquet([self._rows.nothing])
        while True:
            self._enough.wait(self._limits.flush_seconds)
            self._enough.clear()
            while answers := self._next_batch():
                rows = sum(len(answer.rows) for answer in answers)
                characters = sum(answer.characters for answer in answers)
                self._write(answers)
                with self._lock:
                    # Less than was taken only where `close` gave up meanwhile.
                    self._pending_rows = max(0, self._pending_rows - rows)
                    self._pending_characters = max(0, self._pending_characters - characters)
                if self._waiting_rows < self._limits.flush_rows and not self._closing.is_set():
                    break
            if self._closing.is_set() and not self._answers:
                return

    def _next_batch(self) -> list[Answer]:
        """The oldest answers, up to `flush_rows` rows, or one larger request."""
        answers, rows = [], 0
        with self._lock:
            while self._answers:
                size = len(self._answers[0].rows)
                if answers and rows + size > self._limits.flush_rows:
                    break
                answers.append(self._answers.popleft())
                rows += size
            self._waiting_rows = max(0, self._waiting_rows - rows)
        return answers

    def _write(self, answers: list[Answer]) -> None:
        """Write answers, a file for each day; drop what cannot be written after a few attempts."""
        for day, group in itertools.groupby(answers, key=lambda answer: answer.time.date()):
            of_day = list(group)
            rows = sum(len(answer.rows) for answer in of_day)
            try:
                content = self._rows.parquet(of_day)
            except Exception as error:
                self._drop(rows, f"they do not fit the schema: {error}")
                continue
            name = f"{of_day[0].time:%H%M%S}-{self._host}-{uuid.uuid4().hex}.parquet"
            for wait in (*RETRY_AFTER_SECONDS, None):
                try:
                    self._write_file(f"{self._root}/{day_folder(day)}", name, content)
                    break
                except Exception as error:
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                    if wait is None:
                        self._drop(rows, f"{self._uri} cannot be written ({reason})")
                    else:
                        # On closing there is no time to wait, but the attempts are made.
                        self._closing.wait(wait)

    def _write_file(self, folder: str, name: str, content: memoryview) -> None:
        """Write one file, whole or not there; raises whatever the store raises."""
        files, protocols = self._files, self._files.protocol
        protocols = (protocols,) if isinstance(protocols, str) else protocols
        if _WHOLE_OBJECTS.intersection(protocols):
            files.pipe_file(f"{folder}/{name}", bytes(content))
            return
        # The name of a draft does not end in .parquet: no reader takes it for a file of the log.
        draft = f"{folder}/.{name}.draft"
        files.makedirs(folder, exist_ok=True)
        try:
            with files.open(draft, "wb") as stream:
                stream.write(content)
                if "file" in protocols:
                    # Else a crash of the machine may leave the new name without its content.
                    stream.flush()
                    os.fsync(stream.fileno())
            if "file" in protocols:
                os.replace(draft, f"{folder}/{name}")  # noqa: PTH105 (paths of fsspec are strings)
            else:
                files.mv(draft, f"{folder}/{name}")
        except Exception:
            if files.exists(draft):
                files.rm_file(draft)
            raise

    def _drop(self, rows: int, reason: str) -> None:
        """Count rows that are lost, and report them now and then."""
        if not rows:
            return
        try:
            self._count_dropped(rows)
        except Exception:
            logger.exception("the payload log's dropped rows could not be counted")
        with self._lock:
            self._unreported += rows
        self._report(reason)

    def _report(self, reason: str, *, at_once: bool = False) -> None:
        """One line on the rows lost since the last such line, at most once a minute."""
        with self._lock:
            now = time.monotonic()
            recent = now - self._reported_at < REPORT_EVERY_SECONDS
            if not self._unreported or (recent and not at_once):
                return
            rows, self._unreported, self._reported_at = self._unreported, 0, now
        logger.warning("payload log: answers lost: %d (%s)", rows, reason)


def _opened(uri: str) -> tuple:
    """The fsspec file system of a URI and the path in it; a local folder is made."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    try:
        files, root = fsspec.core.url_to_fs(uri)
        if isinstance(files, LocalFileSystem):
            files.makedirs(root, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the payload log cannot be opened at {uri}: {reason}; give a folder or object prefix "
            "that this server may write"
        ) from None
    return files, root.rstrip("/")
