"""A training set that the tiny BERT can learn from in a few steps."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.shared.machine.files import write_parquet
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from tests.conftest import RATED

WORDS_BY_SENTIMENT = {
    -1: ("poor", "awful", "itchy", "returned"),
    0: ("okay", "fine", "average"),
    1: ("good", "great", "lovely", "love"),
}
FILLER = ("the", "a", "dress", "top", "is", "it", "and", "fabric", "i", "this")


def training_rows(tokenizer, split: str, count: int, seed: int) -> list[dict]:
    """Rows whose sentiment shows in one word among filler."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        sentiment = (-1, 0, 1, 1)[number % 4]
        words = [*random.choice(FILLER, size=random.integers(1, 12))]
        word = str(random.choice(WORDS_BY_SENTIMENT[sentiment]))
        words.insert(int(random.integers(len(words) + 1)), word)
        ids = tokenizer(" ".join(words))["input_ids"]
        rating = {-1: 1 + number % 2, 0: 3, 1: 4 + number % 2}[sentiment]
        row = {"review_id": f"{split}-{number}", "split": split, "product_category": "dresses"}
        row |= {"sentiment": sentiment, "rating": rating, "copies": 1, **RATED}
        rows.append(row | {"input_ids": ids, "n_tokens": len(ids)})
    return rows


@pytest.fixture(scope="session")
def tokenizer(tiny_bert: Path):
    from components.shared.machine.base_model import load_tokenizer

    return load_tokenizer(str(tiny_bert))


@pytest.fixture(scope="session")
def small_set(tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet file: 96 training rows, 32 of validation, 4 of test."""
    path = tmp_path_factory.mktemp("set") / "training_set.parquet"
    rows = [
        *training_rows(tokenizer, "train", 96, seed=1),
        *training_rows(tokenizer, "validation", 32, seed=2),
        *training_rows(tokenizer, "test", 4, seed=3),
    ]
    write_parquet(path, pa.Table.from_pylist(rows, schema=TRAINING_SET_SCHEMA))
    return path
