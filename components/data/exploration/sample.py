"""A random sample of the reviews, the same whatever their order and however they are read."""

import numpy as np
import pyarrow as pa

from components.shared.records.splits import keyed_order

SAMPLE_ROWS = 25_000
"""Most reviews whose texts are held in memory: for telling words, tokens and near duplicates."""


class Sample:
    """The reviews whose ids have the smallest hashes, with some of their columns."""

    def __init__(self, rows: int, columns: list[str], seed: int = 0) -> None:
        self._rows, self._columns, self._seed = rows, columns, seed
        self._held: list[pa.Table] = []
        self._keys = np.zeros(0, np.uint64)

    def add(self, prepared: pa.Table) -> None:
        """Consider rows; they have a `review_id`."""
        keys = [keyed_order(name, self._seed) for name in prepared["review_id"].to_pylist()]
        self._keys = np.concatenate([self._keys, np.array(keys, np.uint64)])
        self._held.append(prepared.select(self._columns))
        if len(self._keys) > 2 * self._rows:
            self.table()

    def table(self) -> pa.Table:
        """The sample of what was considered so far, in the order of the hashes."""
        order = np.argsort(self._keys, kind="stable")[: self._rows]
        table = pa.concat_tables(self._held).take(pa.array(order)).combine_chunks()
        self._keys, self._held = self._keys[order], [table]
        return table
