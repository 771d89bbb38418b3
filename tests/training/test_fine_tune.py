import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from components.shared.machine.errors import UserError
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.model_folder import (
    check_model_folder,
    read_calibration,
    read_training_facts,
)
from components.shared.records.reviews import splits_digest
from components.training.fine_tune import fine_tune
from components.training.loop.checkpoint import FILE_NAME
from components.training.loop.data import read_training_set
from components.training.loop.measures import score
from components.training.loop.run import TERMINATED
from components.training.options import TrainingOptions

OPTIONS = TrainingOptions(
    **{"learning_rate": 0.01, "head_learning_rate": 0.01, "layer_decay": 1.0},
    **{"epochs": 3, "min_steps": 0, "batch_size": 8, "evaluations_per_epoch": 2},
    **{"freeze_embeddings": False, "token_dropout": 0.1, "dropout": 0.1, "average_decay": 0.5},
    **{"rating_loss_weight": 0.5, "precision": "fp32", "checkpoint_minutes": 0},
)
LONGER = replace(
    OPTIONS,
    **{"learning_rate": 0.005, "head_learning_rate": 0.005, "token_dropout": 0.0, "dropout": 0.0},
    **{"epochs": 20, "early_stopping_patience": 0},
)
"""As long as the tiny model needs to learn."""


class KilledError(Exception):
    """Stands for kill -9."""


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def same_weights(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture
def train(small_set, tiny_bert, tmp_path):
    """Fine-tunes with `OPTIONS` but for those given, on the small set or on what is made of it."""

    def run(folder="model", *, rows=None, checkpoints=None, on_metrics=lambda _: None, **options):
        training_set = small_set
        if rows is not None:
            table, training_set = pq.read_table(small_set), tmp_path / "set.parquet"
            changed = pa.Table.from_pylist(rows(table.to_pylist()), schema=table.schema)
            pq.write_table(changed, training_set)
        place = tmp_path / checkpoints if checkpoints else None
        given = replace(OPTIONS, **options), tmp_path / folder, place
        return fine_tune(training_set, str(tiny_bert), *given, on_metrics=on_metrics)

    return run


def kill(_):
    raise KilledError


@pytest.fixture(scope="module")
def trained(small_set, tiny_bert, tmp_path_factory):
    """The result of a whole run."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    return fine_tune(small_set, str(tiny_bert), LONGER, folder, facts={"data_fingerprint": "d1"})


def test_it_learns(trained):
    assert trained.accuracy > 0.7  # half of the rows are positive
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


def test_the_model_folder_is_whole_and_says_how_it_came_about(trained, small_set):
    folder = check_model_folder(trained.model_folder)
    facts = json.loads((folder / "training.json").read_text())
    assert facts["options"] == LONGER.to_dict()
    assert facts["facts"] == {"data_fingerprint": "d1"}
    assert facts["splits"] == splits_digest(small_set)
    assert facts["class_prior"] == [0.25, 0.25, 0.5]
    assert facts["rows"] == {"train": 96, "validation": 32}
    assert [entry["step"] for entry in facts["history"]] == list(range(6, 241, 6))
    assert facts["speed"]["samples_per_second"] > 0
    assert "CPU cores" in facts["machine"]
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "neutral", "2": "positive"}
    assert not list(folder.glob("*.bin"))
    assert all(file.stat().st_mode & 0o044 for file in folder.iterdir())


def on_validation(result, training_set):
    """Logits of the model folder on the validation rows, and their classes."""
    _, validation = read_training_set(training_set)
    rows = [validation.row(index) for index in range(len(validation))]
    return predict_logits(load_model(result.model_folder), rows), validation.classes


def test_the_folder_predicts_what_was_measured(trained, small_set):
    logits, classes = on_validation(trained, small_set)
    assert np.mean(logits.argmax(axis=1) == classes) == pytest.approx(trained.accuracy)
    assert read_calibration(trained.model_folder).temperature > 0


def test_the_weights_with_the_best_validation_score_are_kept(trained):
    best = max(trained.history, key=lambda found: (found["macro_f1"], -found["validation_loss"]))
    assert trained.step == best["step"]
    assert trained.macro_f1 == pytest.approx(best["macro_f1"])


@pytest.mark.parametrize("evaluations_before_the_kill", [1, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    evaluations_before_the_kill, precision, train, tmp_path
):
    seen = []

    def kill_later(entry):
        seen.append(entry)
        if len(seen) == evaluations_before_the_kill:
            raise KilledError

    with pytest.raises(KilledError):
        train(checkpoints="c", precision=precision, on_metrics=kill_later)
    assert not (tmp_path / "model").exists()
    assert (tmp_path / "c" / FILE_NAME).is_file()
    resumed = train(checkpoints="c", precision=precision)
    assert resumed.resumed_at == 6 * evaluations_before_the_kill
    assert not (tmp_path / "c" / FILE_NAME).exists()
    whole = train("whole", precision=precision)
    assert same_weights(whole.model_folder, resumed.model_folder)
    for entry in [*whole.history, *resumed.history]:
        del entry["samples_per_second"]
    assert whole.history == resumed.history


def test_a_run_asked_to_end_writes_a_checkpoint_after_the_step_and_goes_on(train, tmp_path):
    given = {"checkpoints": "c", "checkpoint_minutes": 60}
    with pytest.raises(SystemExit) as ended:
        train(**given, on_metrics=lambda _: signal.raise_signal(signal.SIGTERM))
    assert ended.value.code == TERMINATED == 143
    assert not (tmp_path / "model").exists()
    resumed = train(**given)
    assert resumed.resumed_at == 7  # the evaluation was after step 6
    assert same_weights(train("whole").model_folder, resumed.model_folder)


def test_a_checkpoint_of_other_options_or_a_damaged_one_is_not_used(train, tmp_path):
    with pytest.raises(KilledError):
        train(checkpoints="c", on_metrics=kill)
    assert train(checkpoints="c", epochs=1, seed=7).resumed_at == 0
    (tmp_path / "c" / FILE_NAME).write_bytes(b"half of a checkp")
    assert train(checkpoints="c", epochs=1).resumed_at == 0


def test_a_failed_run_leaves_the_old_model_as_it_was(train, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    with pytest.raises(KilledError):
        train(on_metrics=kill)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "old").read_text() == "old"


def test_training_stops_when_validation_does_not_improve(train, monkeypatch):
    monkeypatch.setattr(
        "components.training.loop.run.score",
        lambda *_: {"validation_loss": 1.0, "accuracy": 0.5, "macro_f1": 0.5},
    )
    result = train(early_stopping_patience=2)
    assert [entry["step"] for entry in result.history] == [6, 12, 18]
    assert result.step == 6


def test_training_ends_with_its_time_and_keeps_what_it_has(train):
    result = train(max_seconds=0.001, epochs=20)
    assert result.step == 1
    assert len(result.history) == 1
    check_model_folder(result.model_folder)
    untouched = train(max_seconds=1e6, epochs=1)
    assert untouched.history[-1]["epoch"] == 1.0


def test_small_data_get_more_epochs(train):
    result = train(epochs=1, min_steps=30)
    assert result.history[-1]["step"] == 36  # three epochs of twelve steps


def test_frozen_layers_and_embeddings_stay_as_they_were(train, tiny_bert):
    result = train(freeze_embeddings=True, frozen_share=0.5, epochs=1)
    before, after = weights(tiny_bert), weights(result.model_folder)
    for name in before:
        if "embeddings" in name or "layer.0." in name:
            assert np.array_equal(before[name], after[name]), name
    trained = "bert.encoder.layer.1.output.dense.weight"
    assert not np.array_equal(before[trained], after[trained])


def test_a_diverging_run_is_reported_in_words(train, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "components.training.loop.step.total_loss",
        lambda outputs, *_: outputs[0].sum() * float("nan"),
    )
    with pytest.raises(UserError, match="diverged"):
        train()
    assert not (tmp_path / "model").exists()


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
        (lambda rows: [{**r, "label_source": "weak"} for r in rows], "weak labels in split valid"),
        *(
            (lambda rows, p=p: [{**r, "label_probability": p} for r in rows], "above 0 and up to")
            for p in (0.0, 1.1, float("nan"))
        ),
        *(
            (lambda rows, w=w: [{**r, "weight": w} for r in rows], "weight that is not above 0")
            for w in (0.0, -1.0, float("inf"), float("nan"))
        ),
    ],
)
def test_data_that_cannot_be_trained_on_is_reported_in_words(change, message, train, tmp_path):
    with pytest.raises(UserError, match=message):
        train(rows=change)
    assert not (tmp_path / "model").exists()


def with_weak(rows, probability):
    """The set, with the training rows again under wrong and weak labels."""
    weak = {"label_source": "weak", "label_probability": probability, "rating": None}
    again = [r for r in rows if r["split"] == "train"]
    wrong = {-1: 1, 0: -1, 1: 0}
    return rows + [
        r | weak | {"review_id": f"w-{r['review_id']}", "sentiment": wrong[r["sentiment"]]}
        for r in again
    ]


def test_a_weak_label_counts_by_its_probability(train, tmp_path):
    options = {"class_weights": "none", "tune_decisions": False, "epochs": 8}
    options |= {"token_dropout": 0.0, "dropout": 0.0, "early_stopping_patience": 0}
    doubtful = train("doubtful", rows=lambda rows: with_weak(rows, 0.01), **options)
    trusted = train("trusted", rows=lambda rows: with_weak(rows, 1.0), **options)
    losses = [[entry["validation_loss"] for entry in r.history] for r in (doubtful, trusted)]
    assert min(losses[0]) < min(losses[1]) - 0.1
    facts = read_training_facts(tmp_path / "doubtful")
    assert facts["weak_share"] == 0.5
    assert facts["rows"]["train"] == 2 * 96


def test_a_weight_counts_as_a_probability_does(train, tmp_path):
    options = {"epochs": 1, "tune_decisions": False, "early_stopping_patience": 0}

    def doubtful(name):
        def rows(given):
            return [r | {name: 0.25} if r["rating"] == 3 else r for r in given]

        return train(name, rows=rows, **options)

    assert same_weights(*(doubtful(name).model_folder for name in ("weight", "label_probability")))
    facts = read_training_facts(tmp_path / "weight")["weights"]
    assert facts.pop("rows") > 0
    assert facts == {"least": 0.25, "mean": 0.25, "greatest": 0.25}


def test_rows_of_a_certain_label_train_as_they_always_did(trained):
    facts = read_training_facts(trained.model_folder)
    assert facts["weak_share"] == 0.0
    assert "weights" not in facts


def test_class_weights_are_taken_out_of_the_probabilities(train, small_set):
    """What validation measured during the run is what the model folder gives."""
    result = train(class_weights="balanced")
    measured = next(entry for entry in result.history if entry["step"] == result.step)
    loss = score(*on_validation(result, small_set))["validation_loss"]
    assert loss == pytest.approx(measured["validation_loss"], rel=1e-4)


def test_rows_without_a_rating_train_too(train):
    result = train(rows=lambda rows: [{**row, "rating": None} for row in rows])
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
