"""From answers to rows of the payload log: texts become a digest, numbers, and masked text."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from components.shared.records.labels import SENTIMENTS
from components.shared.records.masking import Masker
from components.shared.records.payloads import payload_schema
from components.shared.records.text_statistics import text_statistics

_ROWS_AT_A_STRETCH = 20


class Asked(NamedTuple):
    """A review as it was asked for; '' where the client did not say, or the server has no text."""

    text: str
    review_id: str = ""
    product_category: str = ""
    n_tokens: int | None = None  # What the model read; None where it reads texts.

    @property
    def characters(self) -> int:
        """How much memory it takes, about."""
        return len(self.text) + len(self.review_id) + len(self.product_category)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answered request that waits to be written."""

    microseconds: int  # When it was answered, since 1970.
    request_id: str
    rows: list[tuple[Asked, int, list[float], bool]]  # Question, class, probabilities, whether cut.
    characters: int

    @property
    def time(self) -> datetime:
        """When it was answered."""
        return datetime.fromtimestamp(self.microseconds / 1e6, UTC)


class PayloadRows:
    """Makes the files of one model version; works for the log's thread alone."""

    def __init__(
        self,
        model_name: str,
        model_version: str,
        class_names: Sequence[str] = SENTIMENTS.names,
        known_words: Set[str] | None = None,
        *,
        masker: Masker | None = None,
        on_masked: Callable[[Mapping[str, int]], None] = lambda finds: None,
    ) -> None:
        """Take the model's name, classes and list of known words (`records.known_words`).

        Texts are kept where there is a masker, and only as it masks them; `on_masked` gets how many
        finds there were of each kind, for a metric.
        """
        self._model = (model_name, model_version)
        self._class_names = list(class_names)
        self._schema = payload_schema(class_names)
        self._known_words = known_words
        self._masker = masker
        self._on_masked = on_masked

    @property
    def nothing(self) -> Answer:
        """An answer to try the whole way with."""
        return Answer(0, "", [(Asked(""), 0, [0.0] * len(self._class_names), False)], 0)

    def parquet(self, answers: Sequence[Answer]) -> memoryview:
        """Answers as the bytes of a Parquet file."""
        import pyarrow.parquet as pq

        table = pa.table(self._columns(answers), schema=self._schema)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return memoryview(sink.getvalue())

    def _columns(self, answers: Sequence[Answer]) -> list[pa.Array]:
        """The columns of `payload_schema`."""
        places = [
            (answer.microseconds, _known(answer.request_id), position)
            for answer in answers
            for position in range(len(answer.rows))
        ]
        rows = [row for answer in answers for row in answer.rows]
        times, request_ids, positions = zip(*places, strict=True)
        asked, classes, chances, truncated = zip(*rows, strict=True)
        texts, keys, categories, n_tokens = zip(*asked, strict=True)
        known = [_known(text) or None for text in texts]
        digests = [
            hashlib.sha256(_utf8(text or f"review_id={key}")).hexdigest()
            for text, key in zip(texts, keys, strict=True)
        ]
        statistics = [text_statistics(part, self._known_words) for part in _in_stretches(known)]
        return [
            pa.array(times, pa.int64()).cast(self._schema.field("time").type),
            pa.array(request_ids),
            pa.array(positions, pa.int32()),
            *(pa.repeat(pa.scalar(part), len(rows)) for part in self._model),
            pa.array(digests),
            self._kept(known),
            pa.array(self._class_names).take(pa.array(classes, pa.int64())),
            *map(pa.array, np.asarray(chances, dtype=np.float32).T),
            pa.array(truncated, pa.bool_()),
            *(pa.array([_known(value) or None for value in said]) for said in (keys, categories)),
            pa.array(n_tokens, pa.int32()),
            *(pa.concat_arrays([part[name] for part in statistics]) for name in statistics[0]),
        ]

    def _kept(self, texts: Sequence[str | None]) -> pa.Array:
        """The texts with personal data masked, or none of them."""
        if self._masker is None:
            return pa.nulls(len(texts), pa.string())
        finds: Counter[str] = Counter()
        kept = []
        for part in _in_stretches(texts):
            for text in part:
                masked = text and self._masker.mask(text)
                kept.append(masked and masked.text)
                finds.update(masked.finds if masked else {})
        self._on_masked(finds)
        return pa.array(kept, pa.string())


def _in_stretches(texts: Sequence[str | None]) -> Iterable[Sequence[str | None]]:
    """A few texts at a time; in between, the event loop gets the interpreter.

    It would wait for it up to 5 ms otherwise.
    """
    for start in range(0, len(texts), _ROWS_AT_A_STRETCH):
        time.sleep(0)
        yield texts[start : start + _ROWS_AT_A_STRETCH]


def _known(text: str) -> str:
    """The text with a question mark for what has no UTF-8 (lone surrogates)."""
    return text if text.isascii() else _utf8(text).decode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
