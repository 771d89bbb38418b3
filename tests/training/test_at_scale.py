from dataclasses import dataclass

import pyarrow as pa
import pytest

from components.shared.machine.files import write_parquet
from components.shared.machine.resumable import place_for
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from components.training import fine_tune as loop
from components.training.fine_tune import fine_tune_at_scale, longest_row
from components.training.on_nodes import launch
from components.training.options import TrainingOptions
from tests.training.on_nodes.test_launch import MADE
from tests.training.on_nodes.test_shared_folder import write_model


@dataclass
class Result:
    macro_f1: float


@pytest.fixture
def training_set(tmp_path):
    rows = [
        {
            "review_id": str(tokens),
            "split": split,
            "sentiment": 1,
            "rating": 5,
            "product_category": "dresses",
            "copies": 1,
            "input_ids": [1] * tokens,
            "n_tokens": tokens,
        }
        for split, tokens in (("train", 3), ("test", 7))
    ]
    path = tmp_path / "set.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, schema=TRAINING_SET_SCHEMA))
    return path


def test_a_killed_training_finds_its_checkpoints_and_a_finished_one_leaves_none(
    training_set, tmp_path, monkeypatch
):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    seen = []

    def fake(training_set, base_model, options, model_folder, checkpoints, facts):
        seen.append(checkpoints)
        checkpoints.mkdir(parents=True, exist_ok=True)
        (checkpoints / "step").touch()
        if len(seen) == 1:
            raise KeyboardInterrupt
        return Result(0.5)

    monkeypatch.setattr(loop, "fine_tune", fake)

    def train(**options):
        return fine_tune_at_scale(
            training_set, "minilm", options, tmp_path / "m", {}, max_tokens=64
        )

    with pytest.raises(KeyboardInterrupt):
        train(epochs=2.0)
    assert (seen[0] / "step").exists()
    train(epochs=2)
    assert seen[1] == seen[0]
    assert not seen[0].exists()
    train(epochs=3)
    assert seen[2] != seen[0]


@pytest.mark.parametrize(
    ("nodes", "gpus", "where"),
    [(1, 0, "here"), (1, 1, "here"), (2, 0, "there"), (1, 2, "there"), (0, 1, "there")],
)
def test_one_process_trains_here_and_several_in_a_train_job(
    training_set, tmp_path, monkeypatch, nodes, gpus, where
):
    asked = {}

    def here(training_set, base_model, options, model_folder, checkpoints, facts):
        asked["here"] = (training_set, base_model, options.to_dict(), model_folder, facts)
        return Result(0.5)

    def there(*given, **scale):
        asked.update(there=given, scale=scale)
        write_model(tmp_path / "m", **MADE, resumed_at=4)

    monkeypatch.setattr(loop, "fine_tune", here)
    monkeypatch.setattr(launch, "fine_tune_on_nodes", there)
    folder = tmp_path / "m"
    result = fine_tune_at_scale(
        training_set, "minilm", {"epochs": "2"}, folder, {"a": "b"}, nodes=nodes, gpus_per_node=gpus
    )
    options, facts = TrainingOptions(epochs=2).to_dict(), {"a": "b", "max_tokens": 7}
    assert set(asked) - {"scale"} == {where}
    assert asked[where] == (training_set, "minilm", options, folder, facts)
    if where == "there":
        assert asked["scale"] == {"nodes": nodes, "gpus_per_node": gpus}
        assert (result.macro_f1, result.accuracy, result.step) == (0.7, 0.8, 30)
        assert (result.validation_loss, result.resumed_at) == (0.5, 4)
        assert (result.history, result.speed) == (MADE["history"], MADE["speed"])


def test_the_longest_row_is_that_of_all_splits(training_set):
    assert longest_row(training_set) == 7


def test_without_a_checkpoint_folder_there_is_no_place(monkeypatch):
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    assert place_for("x") is None
