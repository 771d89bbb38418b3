"""Scoring one shard: the same code in a process of this machine and in an actor of Ray."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.serving.model.engine import AUTO, OpenVinoEngine
from components.serving.model.predictor import Predictions, Predictor
from components.shared.machine.files import write_parquet
from components.shared.records.engines import EXACT
from components.shared.records.model_logits import texts_of
from components.shared.records.scored import scored_schema

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_REVIEWS = 16
"""Reviews of one forward pass, of like length: where the engine is at its best on a CPU core."""

_LARGE_BATCH = 1024
"""For engines that form batches of their own: torch, and a sparse model."""

AT_ONCE = 2
"""Shards that should be under way: while the last passes of one are computed, the next is read."""


class ShardScorer:
    """A model that is loaded once and scores one shard after the other, or two at once."""

    def __init__(self, model_folder: str, model: dict[str, Any], engine: str = AUTO) -> None:
        """Load the model folder.

        Args:
            model_folder: A complete model folder.
            model: Its `name`, `version` and `digest`, which every row of the predictions names.
            engine: As `load_engine` takes it.

        Raises:
            UserError: If the folder cannot be loaded, or has no such engine.
        """
        self._predictor = Predictor(model_folder, engine)
        if isinstance(self._predictor.engine, OpenVinoEngine):
            self._predictor.engine.run_side_by_side()
        self._model = model
        self._passes = ThreadPoolExecutor(self._predictor.engine.parallel, "forward-pass")
        self._reading = threading.Lock()
        self._open: tuple[str, Any] = ("", None)

    def engine(self) -> str:
        """Name of the engine that computes."""
        return str(self._predictor.engine.name)

    def close(self) -> None:
        """Give up what is not computed yet; a shard that is under way raises `CancelledError`."""
        self._passes.shutdown(wait=False, cancel_futures=True)

    def score_shard(
        self,
        reviews: str,
        shard: int,
        part: str,
        on_scored: Callable[[int], None] = lambda reviews: None,
    ) -> int:
        """Score a row group, write its predictions whole or not at all, return their number.

        Args:
            reviews: File in `TO_SCORE_SCHEMA`.
            shard: Number of the row group.
            part: File that is written, in `scored_schema`.
            on_scored: Called with the number of reviews of each forward pass.
        """
        table = self._read(reviews, shard)
        predictions = self._predict(texts_of(table), on_scored)
        write_parquet(Path(part), self._scored(table, predictions))
        return table.num_rows

    def _read(self, reviews: str, shard: int) -> "pa.Table":
        import pyarrow.parquet as pq

        with self._reading:
            if self._open[0] != reviews:
                self._open = reviews, pq.ParquetFile(reviews)
            return self._open[1].read_row_group(shard, use_threads=False)

    def _predict(self, texts: Sequence[str], on_scored: Callable[[int], None]) -> Predictions:
        """Predictions in the order given; reviews of like length share a pass, longest first."""
        tokens = self._predictor.tokenise(texts)
        size = _LARGE_BATCH if self.engine() in EXACT else BATCH_REVIEWS
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row].ids))
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        logits = np.empty((len(tokens), len(self._predictor.class_names)), dtype=np.float32)

        def compute(rows: list[int]) -> None:
            logits[rows] = self._predictor.engine.logits([tokens[row].ids for row in rows])
            on_scored(len(rows))

        for _ in self._passes.map(compute, batches):
            pass
        return self._predictor.decide(logits, [truncated for _, truncated in tokens])

    def _scored(self, table: "pa.Table", predictions: Predictions) -> "pa.Table":
        import pyarrow as pa

        names = tuple(self._predictor.class_names)
        columns: dict[str, Any] = {
            name: table[name].combine_chunks() for name in ("source", "line", "review_id")
        }
        columns |= {"label": predictions.labels, "truncated": list(predictions.truncated)}
        columns |= {f"p_{n}": predictions.probabilities[:, i] for i, n in enumerate(names)}
        for name in ("name", "version", "digest"):
            columns[f"model_{name}"] = pa.repeat(pa.scalar(str(self._model[name])), len(table))
        schema = scored_schema(names)
        return pa.table([columns[name] for name in schema.names], schema=schema)
