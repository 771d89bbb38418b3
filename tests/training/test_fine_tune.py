import json
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from components.shared.machine.errors import UserError
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.model_folder import check_model_folder, read_calibration
from components.training.fine_tune import fine_tune
from components.training.loop.checkpoint import FILE_NAME
from components.training.loop.data import read_training_set
from components.training.loop.run import TERMINATED
from components.training.loop.validation import score
from components.training.options import TrainingOptions

OPTIONS = TrainingOptions(
    learning_rate=0.01,
    head_learning_rate=0.01,
    layer_decay=1.0,
    epochs=3,
    min_steps=0,
    batch_size=8,
    evaluations_per_epoch=2,
    freeze_embeddings=False,
    token_dropout=0.1,
    dropout=0.1,
    rating_loss_weight=0.5,
    average_decay=0.5,
    precision="fp32",
    checkpoint_minutes=0,
)
LONGER = TrainingOptions.from_dict(
    {
        **OPTIONS.to_dict(),
        **{
            "learning_rate": 0.005,
            "head_learning_rate": 0.005,
            "epochs": 20,
            "early_stopping_patience": 0,
        },
        **{"token_dropout": 0.0, "dropout": 0.0},
    }
)
"""As long as the tiny model needs to learn."""


class KilledError(Exception):
    """Stands for kill -9."""


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def trained(small_set, tiny_bert, tmp_path_factory):
    """The result of a whole run."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    return fine_tune(small_set, str(tiny_bert), LONGER, folder, facts={"data_fingerprint": "d1"})


def test_it_learns(trained):
    assert trained.accuracy > 0.7  # half of the rows are positive
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


def test_the_model_folder_is_whole_and_says_how_it_came_about(trained):
    folder = check_model_folder(trained.model_folder)
    facts = json.loads((folder / "training.json").read_text())
    assert facts["options"] == LONGER.to_dict()
    assert facts["facts"] == {"data_fingerprint": "d1"}
    assert facts["class_prior"] == [0.25, 0.25, 0.5]
    assert facts["rows"] == {"train": 96, "validation": 32}
    assert [entry["step"] for entry in facts["history"]] == list(range(6, 241, 6))
    assert facts["speed"]["samples_per_second"] > 0
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "neutral", "2": "positive"}
    assert not list(folder.glob("*.bin"))
    assert all(file.stat().st_mode & 0o044 for file in folder.iterdir())


def test_the_folder_predicts_what_was_measured(trained, small_set):
    _, validation = read_training_set(small_set)
    logits = predict_logits(
        load_model(trained.model_folder), [validation.row(i) for i in range(len(validation))]
    )
    accuracy = np.mean(logits.argmax(axis=1) == validation.classes)
    assert accuracy == pytest.approx(trained.accuracy)
    assert read_calibration(trained.model_folder).temperature > 0


def test_the_weights_with_the_best_validation_score_are_kept(trained):
    best = max(trained.history, key=lambda found: (found["macro_f1"], -found["validation_loss"]))
    assert trained.step == best["step"]
    assert trained.macro_f1 == pytest.approx(best["macro_f1"])


@pytest.mark.parametrize("evaluations_before_the_kill", [1, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    evaluations_before_the_kill, precision, small_set, tiny_bert, tmp_path
):
    options = TrainingOptions.from_dict({**OPTIONS.to_dict(), "precision": precision})
    seen = []

    def kill(found):
        seen.append(found)
        if len(seen) == evaluations_before_the_kill:
            raise KilledError

    model, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    with pytest.raises(KilledError):
        fine_tune(small_set, str(tiny_bert), options, model, checkpoints, on_metrics=kill)
    assert not model.exists()
    assert (checkpoints / FILE_NAME).is_file()
    resumed = fine_tune(small_set, str(tiny_bert), options, model, checkpoints)
    assert resumed.resumed_at == 6 * evaluations_before_the_kill
    assert not (checkpoints / FILE_NAME).exists()
    whole = fine_tune(small_set, str(tiny_bert), options, tmp_path / "whole")
    expected, found = weights(whole.model_folder), weights(model)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    without_rate = [
        [{k: v for k, v in entry.items() if k != "samples_per_second"} for entry in history]
        for history in (whole.history, resumed.history)
    ]
    assert without_rate[0] == without_rate[1]


def test_a_run_asked_to_end_writes_a_checkpoint_after_the_step_and_goes_on(
    small_set, tiny_bert, tmp_path
):
    options = TrainingOptions.from_dict({**OPTIONS.to_dict(), "checkpoint_minutes": 60})
    model, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    with pytest.raises(SystemExit) as ended:
        fine_tune(
            small_set, str(tiny_bert), options, model, checkpoints,
            on_metrics=lambda _: signal.raise_signal(signal.SIGTERM),
        )  # fmt: skip
    assert ended.value.code == TERMINATED == 143
    assert not model.exists()
    resumed = fine_tune(small_set, str(tiny_bert), options, model, checkpoints)
    assert resumed.resumed_at == 7  # the evaluation was after step 6
    whole = fine_tune(small_set, str(tiny_bert), options, tmp_path / "whole")
    expected, found = weights(whole.model_folder), weights(model)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_checkpoint_of_other_options_is_not_used(small_set, tiny_bert, tmp_path):
    def kill(found):
        raise KilledError

    with pytest.raises(KilledError):
        fine_tune(
            small_set, str(tiny_bert), OPTIONS, tmp_path / "m", tmp_path / "c", on_metrics=kill
        )
    other = TrainingOptions.from_dict({**OPTIONS.to_dict(), "seed": 7})
    result = fine_tune(small_set, str(tiny_bert), other, tmp_path / "m", tmp_path / "c")
    assert result.resumed_at == 0


def test_a_damaged_checkpoint_is_not_used(small_set, tiny_bert, tmp_path):
    checkpoints = tmp_path / "c"
    checkpoints.mkdir()
    (checkpoints / FILE_NAME).write_bytes(b"half of a checkp")
    result = fine_tune(small_set, str(tiny_bert), OPTIONS, tmp_path / "m", checkpoints)
    assert result.resumed_at == 0


def test_a_failed_run_leaves_the_old_model_as_it_was(small_set, tiny_bert, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "old").write_text("old")

    def kill(found):
        raise KilledError

    with pytest.raises(KilledError):
        fine_tune(small_set, str(tiny_bert), OPTIONS, model, on_metrics=kill)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (model / "old").read_text() == "old"


def test_training_stops_when_validation_does_not_improve(
    small_set, tiny_bert, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "components.training.loop.run.score",
        lambda *_: {"validation_loss": 1.0, "accuracy": 0.5, "macro_f1": 0.5},
    )
    options = TrainingOptions.from_dict({**OPTIONS.to_dict(), "early_stopping_patience": 2})
    result = fine_tune(small_set, str(tiny_bert), options, tmp_path / "m")
    assert [found["step"] for found in result.history] == [6, 12, 18]
    assert result.step == 6


def test_small_data_get_more_epochs(small_set, tiny_bert, tmp_path):
    options = TrainingOptions.from_dict({**OPTIONS.to_dict(), "epochs": 1, "min_steps": 30})
    result = fine_tune(small_set, str(tiny_bert), options, tmp_path / "m")
    assert result.history[-1]["step"] == 36  # three epochs of twelve steps


def test_frozen_layers_and_embeddings_stay_as_they_were(small_set, tiny_bert, tmp_path):
    options = TrainingOptions.from_dict(
        {**OPTIONS.to_dict(), "freeze_embeddings": True, "frozen_share": 0.5, "epochs": 1}
    )
    result = fine_tune(small_set, str(tiny_bert), options, tmp_path / "m")
    before, after = weights(tiny_bert), weights(result.model_folder)
    for name in before:
        frozen = "embeddings" in name or "layer.0." in name
        if frozen:
            assert np.array_equal(before[name], after[name]), name
    assert not np.array_equal(
        before["bert.encoder.layer.1.output.dense.weight"],
        after["bert.encoder.layer.1.output.dense.weight"],
    )


def test_a_diverging_run_is_reported_in_words(small_set, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "components.training.loop.step.total_loss",
        lambda outputs, *_: outputs[0].sum() * float("nan"),
    )
    with pytest.raises(UserError, match="diverged"):
        fine_tune(small_set, str(tiny_bert), OPTIONS, tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [r for r in rows if r["split"] != "validation"], "no rows of split valid"),
        (lambda rows: [r for r in rows if r["split"] != "train"], "no rows of split train"),
        (lambda rows: [r for r in rows if r["sentiment"] != 0], "no neutral review"),
        (lambda rows: [{**r, "input_ids": []} for r in rows], "without tokens"),
        (lambda rows: [{**r, "input_ids": [99999]} for r in rows], "vocabulary"),
        (lambda rows: [{**r, "input_ids": [2] * 65} for r in rows], "reads 64"),
        (lambda rows: [{**r, "rating": 9} for r in rows], "rating other than"),
        (lambda rows: [{**r, "copies": 0} for r in rows], "no negative and no neutral"),
    ],
)
def test_data_that_cannot_be_trained_on_is_reported_in_words(
    change, message, small_set, tiny_bert, tmp_path
):
    table = pq.read_table(small_set)
    path = tmp_path / "set.parquet"
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)
    with pytest.raises(UserError, match=message):
        fine_tune(path, str(tiny_bert), OPTIONS, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_class_weights_are_taken_out_of_the_probabilities(small_set, tiny_bert, tmp_path):
    """What validation measured during the run is what the model folder gives."""
    options = TrainingOptions.from_dict({**OPTIONS.to_dict(), "class_weights": "balanced"})
    result = fine_tune(small_set, str(tiny_bert), options, tmp_path / "m")
    _, validation = read_training_set(small_set)
    logits = predict_logits(
        load_model(result.model_folder), [validation.row(i) for i in range(len(validation))]
    )
    kept = next(found for found in result.history if found["step"] == result.step)
    found = score(logits, validation.classes)
    assert found["validation_loss"] == pytest.approx(kept["validation_loss"], rel=1e-4)


def test_rows_without_a_rating_train_too(small_set, tiny_bert, tmp_path):
    table = pq.read_table(small_set)
    rows = [{**row, "rating": None} for row in table.to_pylist()]
    path = tmp_path / "set.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    result = fine_tune(path, str(tiny_bert), OPTIONS, tmp_path / "model")
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
