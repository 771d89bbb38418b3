"""The files of a payload log: answers as rows of Parquet, on any fsspec URI, whole or not there."""

import hashlib
import os
import re
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.payloads import PAYLOAD_SCHEMA, day_folder

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_ANSWERS_AT_A_STRETCH = 100

_WHOLE_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Stores in which an object is there whole or not at all; elsewhere a rename makes it so."""


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """One answered request, as it waits to be written.

    Attributes:
        microseconds: When it was answered, since 1970.
        request_id: Id of the request.
        texts: The texts that the model read [n].
        classes: Class index of each [n].
        probabilities: Calibrated probability of each class [n, 3].
        truncated: Whether each text was cut [n].
    """

    microseconds: int
    request_id: str
    texts: Sequence[str]
    classes: list[int]
    probabilities: list[list[float]]
    truncated: list[bool]

    @property
    def characters(self) -> int:
        """Of all texts together."""
        return sum(map(len, self.texts))

    @property
    def time(self) -> datetime:
        """When it was answered, in UTC."""
        return datetime.fromtimestamp(self.microseconds / 1e6, UTC)


class PayloadFiles:
    """Makes and writes the files of one server.

    A file has its final name only once it is whole, and a name that no other server or restart
    gives: `date=YYYY-MM-DD/HHMMSS-<host>-<uuid>.parquet`.
    """

    def __init__(self, uri: str, *, model_name: str, model_version: str, keep_texts: bool) -> None:
        """Open the file system; an object store is not asked yet.

        Args:
            uri: Folder or object prefix.
            model_name: Written in each row.
            model_version: Written in each row.
            keep_texts: Whether the texts themselves are kept, not their SHA-256 alone.

        Raises:
            UserError: If the URI's kind is not known or not installed, or it is a folder that
                cannot be made.
        """
        self._files, self._root = _opened(uri)
        self._model_name = model_name
        self._model_version = model_version
        self._keep_texts = keep_texts
        self._host = re.sub(r"[^A-Za-z0-9.-]", "_", os.environ.get("HOSTNAME") or _host())[:63]

    def new_name(self, moment: datetime) -> str:
        """A name below the log's folder that no other file has.

        Args:
            moment: Of the file's first answer, in UTC.
        """
        name = f"{moment:%H%M%S}-{self._host}-{uuid.uuid4().hex}.parquet"
        return f"{day_folder(moment.date())}/{name}"

    def write(self, name: str, content: memoryview) -> None:
        """Write one file, whole or not there.

        Args:
            name: From `new_name`; the same name again writes the same file again.
            content: From `parquet`.

        Raises:
            Exception: Whatever the store raises.
        """
        files, target = self._files, f"{self._root}/{name}"
        protocols = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
        if _WHOLE_OBJECTS.intersection(protocols):
            files.pipe_file(target, bytes(content))
            return
        # The name of a draft does not end in .parquet: no reader takes it for a file of the log.
        folder, _, file = target.rpartition("/")
        draft = f"{folder}/.{file}.draft"
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

    def parquet(self, answers: Sequence[LoggedAnswer]) -> memoryview:
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
