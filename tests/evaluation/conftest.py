"""A small run's artifacts: a model folder around the tiny BERT, a training set, prepared texts."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.shared.machine.base_model import load_tokenizer
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.reviews import PREPARED_SCHEMA, TRAINING_SET_SCHEMA
from components.shared.records.text import model_text
from tests.conftest import RATED

WORDS_OF = {
    -1: ("awful", "poor", "returned", "itchy", "the", "dress", "is", "very"),
    0: ("okay", "fine", "average", "but", "the", "dress", "is", "very"),
    1: ("great", "love", "lovely", "soft", "the", "dress", "is", "very"),
}


def review_rows(count: int, seed: int = 0) -> list[dict]:
    generator = np.random.default_rng(seed)

    def row(number):
        sentiment = int(generator.integers(-1, 2))
        return {
            "review_id": f"r{number:05d}",
            "review_body": " ".join(generator.choice(WORDS_OF[sentiment], 6)),
            "title": None if number % 3 == 0 else "this top",
            "rating": 3 + 2 * sentiment,
            "sentiment": sentiment,
            "product_category": ("Dresses", "Knits", "Blouses", "Trend", None)[number % 5],
            "event_timestamp": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
            "split": ("test", "test", "validation", "train")[number % 4],
            "copies": 1,
            **RATED,
        }

    return [row(number) for number in range(count)]


def write_run(folder: Path, rows: list[dict], tokenizer_folder: Path) -> tuple[Path, Path]:
    tokenizer = load_tokenizer(str(tokenizer_folder)).backend_tokenizer
    tokenizer.enable_truncation(32)
    prepared, training_set = folder / "prepared.parquet", folder / "training_set.parquet"
    full = [{name: row.get(name) for name in PREPARED_SCHEMA.names} for row in rows]
    write_parquet(prepared, pa.Table.from_pylist(full, schema=PREPARED_SCHEMA))
    tokens = []
    for row in sorted(rows, key=lambda row: row["review_id"]):
        ids = tokenizer.encode(model_text(row["title"], row["review_body"])).ids
        kept = {name: row.get(name) for name in TRAINING_SET_SCHEMA.names}
        tokens.append({**kept, "input_ids": ids, "n_tokens": len(ids)})
    write_parquet(training_set, pa.Table.from_pylist(tokens, schema=TRAINING_SET_SCHEMA))
    return training_set, prepared


def write_model(folder: Path, source: Path) -> Path:
    """A whole model folder around the tiny BERT, its classifier drawn anew."""
    import torch

    from components.shared.machine.inference import load_model

    shutil.copytree(source, folder)
    model = load_model(source)
    torch.manual_seed(0)
    with torch.no_grad():
        model.classifier.weight.normal_(0, 1)
    model.save_pretrained(folder)
    facts = {"data_fingerprint": "data-1", "feature_service": "reviews_v1"}
    training = {"options": {"epochs": 1}, "facts": facts, "max_tokens": 32}
    training |= {
        "class_prior": [0.2, 0.3, 0.5],
        "history": [],
        "speed": {},
        "splits": "these",
        "test_split": "this",
    }
    write_json(folder / "training.json", training)
    calibration = {"temperature": 1.3, "decision_offsets": [0.1, 0.0, 0.0]}
    write_json(folder / "calibration.json", calibration)
    (folder / "model_card.md").write_text("# A tiny model\n")
    return folder


@pytest.fixture(scope="module")
def run_artifacts(tmp_path_factory, tiny_bert):
    folder = tmp_path_factory.mktemp("run")
    training_set, prepared = write_run(folder, review_rows(400), tiny_bert)
    return write_model(folder / "model", tiny_bert), training_set, prepared
