"""Every answer, to Parquet on any fsspec URI, without ever making a request wait."""

import hashlib
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
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from components.contracts.errors import UserError
from components.contracts.labels import CLASS_NAMES
from components.contracts.payloads import PAYLOAD_SCHEMA, check_no_password, day_folder

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: tuple[float, ...] = (0.5, 1.0, 2.0)
"""Waits between the attempts to write a file; after the last attempt its rows are dropped."""

TOLD_EVERY_SECONDS = 60.0
"""Dropped rows are told in the log at most this often."""

_ANSWERS_AT_A_STRETCH = 100

_WHOLE_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Stores in which an object is there whole or not at all; elsewhere a rename makes it so."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answered request, as it waits to be written."""

    microseconds: int
    request_id: str
    texts: Sequence[str]
    classes: list[int]
    probabilities: list[list[float]]
    truncated: list[bool]

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))


class PayloadLog:
    """Writes answers to Parquet files in the background.

    `record` puts an answer in a bounded buffer and returns; a thread writes a file when
    `flush_rows` have come together or `flush_seconds` have passed. Memory is bounded whatever the
    sink does: what finds no room is dropped, newest first, counted, and told once a minute. What
    was accepted is written in order, or dropped after a few attempts.

    A file has its final name only once it is whole, and a name that no other server or restart
    gives: `date=YYYY-MM-DD/HHMMSS-<host>-<uuid>.parquet`. An attempt that is repeated writes the
    same name, so that an answer is not logged twice where only the confirmation was lost.
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
        self._files, self._root = _opened(uri)
        self._model_name = model_name
        self._model_version = model_version
        self._keep_texts = keep_texts
        self._max_rows = max_pending_rows
        self._max_characters = max_pending_characters
        self._flush_rows = flush_rows
        self._flush_seconds = flush_seconds
        self._count_dropped = dropped
        self._host = re.sub(r"[^A-Za-z0-9.-]", "_", os.environ.get("HOSTNAME") or _host())[:63]

        self._lock = threading.Lock()
        self._answers: deque[_Answer] = deque()
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
            answer = _Answer(
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
        self._parquet([_Answer(0, "", [""], [0], [[0.0] * len(CLASS_NAMES)], [False])])
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

    def _next_batch(self) -> list[_Answer]:
        """The oldest answers, up to `flush_rows` rows, or one larger request."""
        answers: list[_Answer] = []
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

    def _write(self, answers: list[_Answer]) -> None:
        """Write answers, a file for each day; drop what cannot be written."""
        by_day: dict[date, list[_Answer]] = {}
        for answer in answers:
            day = datetime.fromtimestamp(answer.microseconds / 1e6, UTC).date()
            by_day.setdefault(day, []).append(answer)
        for day, of_day in by_day.items():
            rows = sum(len(answer.texts) for answer in of_day)
            try:
                content = self._parquet(of_day)
            except Exception as error:
                self._drop(rows, f"they are no rows of the schema: {error}")
                continue
            moment = datetime.fromtimestamp(of_day[0].microseconds / 1e6, UTC)
            name = f"{moment:%H%M%S}-{self._host}-{uuid.uuid4().hex}.parquet"
            self._write_file(f"{self._root}/{day_folder(day)}", name, content, rows)

    def _write_file(self, folder: str, name: str, content: memoryview, rows: int) -> None:
        """Write one file, in a few attempts."""
        for wait in (*RETRY_AFTER_SECONDS, None):
            try:
                self._write_whole(folder, name, content)
                return
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                if wait is None:
                    self._drop(rows, f"{self._uri} cannot be written ({reason})")
                else:
                    # On closing there is no time to wait, but the attempts are made.
                    self._closing.wait(wait)

    def _write_whole(self, folder: str, name: str, content: memoryview) -> None:
        """Write one file, whole or not there."""
        files, target = self._files, f"{folder}/{name}"
        protocols = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
        if _WHOLE_OBJECTS.intersection(protocols):
            files.pipe_file(target, bytes(content))
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
                os.replace(draft, target)  # noqa: PTH105 (paths of fsspec are strings)
            else:
                files.mv(draft, target)
        except Exception:
            if files.exists(draft):
                files.rm_file(draft)
            raise

    def _parquet(self, answers: list[_Answer]) -> memoryview:
        """The answers as the bytes of a Parquet file."""
        import pyarrow.parquet as pq

        times, ids, positions, digests, texts = [], [], [], [], []
        classes: list[int] = []
        chances: list[list[float]] = []
        truncated: list[bool] = []
        for number, answer in enumerate(answers):
            if number % _ANSWERS_AT_A_STRETCH == 0:
                # Hands the interpreter to the event loop, which would wait up to 5 ms for it.
                time.sleep(0)
            rows = len(answer.texts)
            times += [answer.microseconds] * rows
            ids += [_utf8(answer.request_id).decode()] * rows
            positions += range(rows)
            for text in answer.texts:
                encoded = _utf8(text)
                digests.append(hashlib.sha256(encoded).hexdigest())
                texts.append(encoded.decode() if self._keep_texts else None)
            classes += answer.classes
            chances += answer.probabilities
            truncated += answer.truncated
        negative, neutral, positive = np.asarray(chances, dtype=np.float32).T
        table = pa.table(
            [
                pa.array(times, pa.int64()).cast(PAYLOAD_SCHEMA.field("time").type),
                ids,
                pa.array(positions, pa.int32()),
                pa.repeat(pa.scalar(self._model_name), len(ids)),
                pa.repeat(pa.scalar(self._model_version), len(ids)),
                digests,
                pa.array(texts, pa.string()),
                pa.array(CLASS_NAMES).take(pa.array(classes, pa.int64())),
                negative,
                neutral,
                positive,
                truncated,
            ],
            schema=PAYLOAD_SCHEMA,
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return memoryview(sink.getvalue())

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


def _opened(uri: str) -> tuple["AbstractFileSystem", str]:
    """The file system of a URI and the path in it; a local folder is made."""
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


def _host() -> str:
    """This machine's name: in a cluster, the pod's."""
    return socket.gethostname() or "server"


def _utf8(text: str) -> bytes:
    """The text in UTF-8, with a question mark for what has none (lone surrogates)."""
    return text.encode("utf-8", "replace")
