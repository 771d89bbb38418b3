from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.features.publish import build_features
from components.shared.machine.files import write_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import PREPARED_SCHEMA, SPLITS
from tests.conftest import WORDS


@pytest.fixture
def make_prepared(tmp_path):
    def make(rows=60, seed=0, **replaced):
        random = np.random.default_rng(seed)
        bodies = [" ".join(random.choice(WORDS, random.integers(1, 40))) for _ in range(rows)]
        columns: dict[str, list] = {
            "review_id": [f"r{row:05d}" for row in random.permutation(rows)],
            "review_body": bodies,
            "title": [None if row % 3 == 0 else "Très jolie" for row in range(rows)],
            "rating": [None if row % 7 == 0 else int(1 + row % 5) for row in range(rows)],
            "sentiment": [row % 3 - 1 for row in range(rows)],
            "product_category": [None if row % 5 == 0 else "Dresses" for row in range(rows)],
            "event_timestamp": [datetime(2024, 1, 1 + n % 9, 7, tzinfo=UTC) for n in range(rows)],
            "split": [SPLITS[row % 3] for row in range(rows)],
            "copies": [row % 4 if row % 3 == 0 else 1 for row in range(rows)],
            "label_source": ["given" if row % 7 == 0 else "rating" for row in range(rows)],
            "label_probability": [0.1 + 0.9 / (1 + row % 3) for row in range(rows)],
            "weight": [1.0] * rows,
        } | replaced
        whole = {name: columns.get(name, [None] * rows) for name in PREPARED_SCHEMA.names}
        table = pa.table(whole, schema=PREPARED_SCHEMA)
        path = tmp_path / f"prepared-{seed}-{rows}.parquet"
        write_parquet(path, table)
        return path

    return make


@pytest.fixture
def changed(tmp_path):
    """Writes a prepared file again with other columns, each a function of a row."""

    def make(prepared, name, labels=SENTIMENTS, **columns):
        rows = pq.read_table(prepared).to_pylist()
        rows = [row | {key: value(row) for key, value in columns.items()} for row in rows]
        path = tmp_path / f"{name}.parquet"
        write_parquet(path, pa.Table.from_pylist(rows, schema=labels.on(PREPARED_SCHEMA)))
        return path

    return make


@pytest.fixture
def build(tiny_bert, tmp_path):
    def run(prepared, max_tokens=24, fingerprint="data-1"):
        paths = (tmp_path / "features.parquet", tmp_path / "summary.json")
        return build_features(prepared, str(tiny_bert), max_tokens, fingerprint, *paths)

    return run
