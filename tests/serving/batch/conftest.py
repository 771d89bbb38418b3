"""Reviews to score, in small shards."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.serving.batch.score import score_reviews
from components.shared.records.engines import read_engines, write_engines
from components.shared.records.scored import TO_SCORE_SCHEMA
from tests.conftest import WORDS

SHARD = 16


def write_reviews(path, count=100, seed=0, shard=SHARD):
    """Reviews of one to forty words of the tiny model, so that some of them are cut."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "source": "in.csv",
            "line": number + 2,
            "review_id": f"r{number % 90}",
            "title": "Lovely" if number % 3 else None,
            "review_body": " ".join(random.choice(WORDS, random.integers(1, 41))),
            "product_category": None,
        }
        for number in range(count)
    ]
    table = pa.Table.from_pylist(rows, schema=TO_SCORE_SCHEMA)
    pq.write_table(table, path, row_group_size=shard)
    return path


def scored(folder):
    """All rows of a folder of predictions, as its readers see it."""
    return pq.read_table(folder).to_pylist()


@pytest.fixture(scope="session")
def outspoken_folder(served_folder, training_set, tmp_path_factory):
    """A tiny model with engines, whose random weights are so large that its answers differ."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from components.serving.export import export_for_serving

    folder = tmp_path_factory.mktemp("outspoken")
    shutil.copytree(served_folder, folder / "model")
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(served_folder, initializer_range=0.5)
    BertForSequenceClassification(config).save_pretrained(folder / "model")
    export_for_serving(folder / "model", training_set, folder / "exported")
    # Whether 8 bits are enough for random weights is not what is asked here.
    good = {"labels_equal": 1.0, "macro_f1_reference": 0.0, "max_probability_difference": 0.0}
    checks = [replace(check, **good) for check in read_engines(folder / "exported")]
    write_engines(folder / "exported", checks)
    return folder / "exported"


@pytest.fixture
def reviews(tmp_path):
    return write_reviews(tmp_path / "reviews.parquet")


@pytest.fixture
def score(served_folder, tmp_path):
    """Scores into `out` with version 3 of the tiny model; what is named differs."""

    def run(reviews, model=served_folder, folder=tmp_path / "out", version="3", **options):
        named = {"model_name": "sentiment", "model_version": version, "engine": "torch"}
        return score_reviews(reviews, model, folder, **named | options)

    return run
