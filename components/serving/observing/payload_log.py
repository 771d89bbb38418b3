"""Every answer, to Parquet on any fsspec URI, without ever making a request wait."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from numpy.typing import ArrayLike

from components.serving.observing.payload_files import LoggedAnswer, PayloadFiles
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.payloads import check_no_password

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: tuple[float, ...] = (0.5, 1.0, 2.0)
"""Waits between the attempts to write a file; after the last attempt its rows are dropped."""

TOLD_EVERY_SECONDS = 60.0
"""Dropped rows are told in the log at most this often."""


class PayloadLog:
    """Writes answers to Parquet files in the background.

    `record` puts an answer in a bounded buffer and returns; a thread writes a file when
    `flush_rows` have come together or `flush_seconds` have passed. Memory is bounded whatever the
    sink does: what finds no room is dropped, newest first, counted, and told once a minute. What
    was accepted is written in order, or dropped after a few attempts.

    An attempt that is repeated writes the same name, so that an answer is not logged twice where
    only the confirmation was lost.
    """

    def __init__(
        self,
        uri: str,
        *,
        model_name: str,
        model_version: str,
        keep_texts: bool = False,
        max_pending_rows: int = 20_000,
        max_pending_characters: int = 16_000_000,
        flush_rows: int = 5_000,
        flush_seconds: float = 30.0,
        dropped: Callable[[int], None] | None = None,
    ) -> None:
        """Open the log and start its thread. An object store is not asked before the first file.

        Args:
            uri: Folder or object prefix, any that fsspec writes; credentials come from the
                environment, never in the URI.
            model_name: Written in each row.
            model_version: Written in each row.
            keep_texts: Whether the texts themselves are kept, not their SHA-256 alone.
            max_pending_rows: Most rows in memory, those being written included.
            max_pending_characters: Most characters of text in memory.
            flush_rows: Rows that are written at once.
            flush_seconds: Longest wait before fewer are written.
            dropped: Called with the number of rows dropped, from any thread; for a metric.

        Raises:
            UserError: If the URI holds a password, its kind is not known or not installed, or it is
                a folder that cannot be made.
        """
        self._uri = check_no_password(uri)
        self._files = PayloadFiles(
            uri, model_name=model_name, model_version=model_version, keep_texts=keep_texts
        )
        self._max_rows = max_pending_rows
        self._max_characters = max_pending_characters
        self._flush_rows = flush_rows
        self._flush_seconds = flush_seconds
        self._count_dropped = dropped

        self._lock = threading.Lock()
        self._answers: deque[LoggedAnswer] = deque()
        self._waiting_rows = 0
        self._pending_rows = 0
        self._pending_characters = 0
        self._untold = 0
        self._told_at = float("-inf")
        self._enough = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payload-log", daemon=True)
        self._thread.start()

    def record(
        self,
        request_id: str,
        texts: Sequence[str],
        classes: ArrayLike,
        probabilities: ArrayLike,
        truncated: ArrayLike,
    ) -> None:
        """Take an answered request into the buffer. Never blocks, never raises.

        Args:
            request_id: Id of the request.
            texts: The texts that the model read [n]; not to be changed afterwards.
            classes: Class index of each [n].
            probabilities: Calibrated probability of each class [n, 3].
            truncated: Whether each text was cut [n], bool.
        """
        rows = len(texts)
        if not rows:
            return
        try:
            answer = LoggedAnswer(
                time.time_ns() // 1000,
                request_id,
                texts,
                np.asarray(classes).tolist(),
                # Copied: an engine may use its output memory again.
                np.asarray(probabilities).tolist(),
                np.asarray(truncated).tolist(),
            )
            characters = answer.characters
            lengths = {len(answer.classes), len(answer.probabilities), len(answer.truncated)}
            if lengths != {rows}:
                raise ValueError(f"{rows} texts, but {lengths} answers")
        except Exception as error:
            self._drop(rows, f"an answer could not be taken: {error!r}")
            return
        with self._lock:
            # Looked up under the lock: after `close` has said so, nothing is accepted.
            closed = self._closing.is_set()
            full = (
                self._pending_rows + rows > self._max_rows
                or self._pending_characters + characters > self._max_characters
            )
            if not closed and not full:
                self._answers.append(answer)
                self._waiting_rows += rows
                self._pending_rows += rows
                self._pending_characters += characters
                enough = self._waiting_rows >= self._flush_rows
        if closed or full:
            self._drop(rows, "it is closed" if closed else "its sink is slow, the buffer is full")
        elif enough and not self._enough.is_set():
            self._enough.set()

    def close(self, timeout: float = 10.0) -> None:
        """Write what is there and end the thread; record nothing more.

        Args:
            timeout: Seconds to wait for the sink; what is not written by then is counted as
                dropped.
        """
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
        self._tell("dropped before closing", at_once=True)

    def _run(self) -> None:
        """Write batches until closed and empty."""
        # What Arrow imports at its first table (pandas) takes its time: now, while the server
        # starts, not under load.
        self._files.parquet([LoggedAnswer(0, "", [""], [0], [[0.0] * len(CLASS_NAMES)], [False])])
        while True:
            self._enough.wait(self._flush_seconds)
            self._enough.clear()
            while answers := self._next_batch():
                rows = sum(len(answer.texts) for answer in answers)
                characters = sum(answer.characters for answer in answers)
                self._write(answers)
                with self._lock:
                    # Less than was taken only where `close` gave up meanwhile.
                    self._pending_rows = max(0, self._pending_rows - rows)
                    self._pending_characters = max(0, self._pending_characters - characters)
                if self._waiting_rows < self._flush_rows and not self._closing.is_set():
                    break
            if self._closing.is_set() and not self._answers:
                return

    def _next_batch(self) -> list[LoggedAnswer]:
        """The oldest answers, up to `flush_rows` rows, or one larger request."""
        answers: list[LoggedAnswer] = []
        rows = 0
        with self._lock:
            while self._answers:
                size = len(self._answers[0].texts)
                if answers and rows + size > self._flush_rows:
                    break
                answers.append(self._answers.popleft())
                rows += size
            self._waiting_rows = max(0, self._waiting_rows - rows)
        return answers

    def _write(self, answers: list[LoggedAnswer]) -> None:
        """Write answers, a file for each day; drop what cannot be written."""
        by_day: dict[date, list[LoggedAnswer]] = {}
        for answer in answers:
            by_day.setdefault(answer.time.date(), []).append(answer)
        for of_day in by_day.values():
            rows = sum(len(answer.texts) for answer in of_day)
            try:
                content = self._files.parquet(of_day)
            except Exception as error:
                self._drop(rows, f"they are no rows of the schema: {error}")
                continue
            self._write_file(self._files.new_name(of_day[0].time), content, rows)

    def _write_file(self, name: str, content: memoryview, rows: int) -> None:
        """Write one file, in a few attempts."""
        for wait in (*RETRY_AFTER_SECONDS, None):
            try:
                self._files.write(name, content)
                return
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                if wait is None:
                    self._drop(rows, f"{self._uri} cannot be written ({reason})")
                else:
                    # On closing there is no time to wait, but the attempts are made.
                    self._closing.wait(wait)

    def _drop(self, rows: int, reason: str) -> None:
        """Count rows that are lost, and say so now and then."""
        if not rows:
            return
        try:
            if self._count_dropped is not None:
                self._count_dropped(rows)
        except Exception:
            logger.exception("the payload log's dropped rows could not be counted")
        with self._lock:
            self._untold += rows
        self._tell(reason)

    def _tell(self, reason: str, *, at_once: bool = False) -> None:
        """One line on the rows lost since the last such line, at most once a minute."""
        with self._lock:
            now = time.monotonic()
            if not self._untold or (now - self._told_at < TOLD_EVERY_SECONDS and not at_once):
                return
            rows, self._untold, self._told_at = self._untold, 0, now
        logger.warning("payload log: answers lost: %d (%s)", rows, reason)
