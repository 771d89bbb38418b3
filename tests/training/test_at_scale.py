from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.machine.errors import UserError
from components.training import fine_tune as loop
from components.training.fine_tune import fine_tune_at_scale
from components.training.on_nodes import launch
from components.training.options import TrainingOptions
from tests.shared.kubernetes.test_shared_folder import write_model
from tests.training.on_nodes.test_launch import MADE


def test_a_killed_training_finds_its_checkpoints_and_a_finished_one_leaves_none(
    small_set, tmp_path, monkeypatch
):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    seen = []

    def fake(training_set, base_model, options, model_folder, checkpoints, facts, **_):
        seen.append(checkpoints)
        checkpoints.mkdir(parents=True, exist_ok=True)
        if len(seen) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fine_tune", fake)

    def train(**options):
        return fine_tune_at_scale(small_set, "minilm", options, tmp_path / "m", {}, max_tokens=64)

    with pytest.raises(KeyboardInterrupt):
        train(epochs=2.0)
    assert seen[0].exists()
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
    small_set, tmp_path, monkeypatch, nodes, gpus, where
):
    asked, folder, training_set = {}, tmp_path / "m", tmp_path / "set.parquet"
    table = pq.read_table(small_set)
    rows = table.to_pylist()
    rows[-1]["n_tokens"] = 99  # of the test split: the features were cut there
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), training_set)

    def here(training_set, base_model, options, model_folder, checkpoints, facts, **_):
        assert checkpoints is None
        given = (training_set, base_model, options.to_dict(), model_folder, facts)
        asked.update(where="here", given=given)
        return SimpleNamespace(macro_f1=0.7)

    def there(*given, **scale):
        asked.update(where="there", given=given, scale=scale)
        write_model(folder, **MADE, resumed_at=4)

    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    monkeypatch.setattr(loop, "fine_tune", here)
    monkeypatch.setattr(launch, "fine_tune_on_nodes", there)
    result = fine_tune_at_scale(
        *(training_set, "minilm", {"epochs": "2"}, folder, {"a": "b"}),
        **{"nodes": nodes, "gpus_per_node": gpus},
    )
    facts = {"a": "b", "max_tokens": 99}
    assert asked["where"] == where
    assert asked["given"] == (
        *(training_set, "minilm", TrainingOptions(epochs=2).to_dict(), folder, facts),
    )
    assert result.macro_f1 == 0.7
    if where == "there":
        assert asked["scale"] == {"nodes": nodes, "gpus_per_node": gpus}
        assert (result.accuracy, result.validation_loss, result.step) == (0.8, 0.5, 30)
        assert (result.history, result.speed) == (MADE["history"], MADE["speed"])
        assert result.resumed_at == 4


def test_a_training_set_that_is_wrong_is_reported_before_anything_is_launched(tmp_path):
    with pytest.raises(UserError, match=r"missing\.parquet does not exist"):
        fine_tune_at_scale(tmp_path / "missing.parquet", "minilm", {}, tmp_path, {}, 80, nodes=2)
