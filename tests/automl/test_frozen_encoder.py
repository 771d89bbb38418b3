"""The encoder as it is with a linear layer: an ordinary model folder, and what it costs."""

import math
import shutil

import numpy as np
import pytest

from components.automl.candidate import OutOfTimeError
from components.automl.candidates import all_candidates, frozen_encoder
from components.automl.task import read_task
from components.serving.model.predictor import Predictor
from components.shared.machine.errors import UserError
from components.shared.records.decision import decide
from components.shared.records.model_folder import (
    TRANSFORMER,
    check_model_folder,
    kind_of,
    read_calibration,
)
from components.shared.records.model_logits import logits_of
from tests.evaluation.conftest import review_rows, write_run

CANDIDATE = all_candidates()["frozen_encoder"]


@pytest.fixture(scope="module")
def small(tiny_bert, tmp_path_factory):
    """A problem whose words the encoder tells apart: the tiny one with larger embeddings."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("frozen")
    shutil.copytree(tiny_bert, folder / "encoder")
    weights = load_file(tiny_bert / "model.safetensors")
    lively = {name: 30 * one if one.ndim == 2 else one for name, one in weights.items()}
    save_file(lively, folder / "encoder" / "model.safetensors", {"format": "pt"})
    training_set, prepared = write_run(folder, review_rows(400), tiny_bert)
    return read_task(prepared, training_set, str(folder / "encoder"), {"max_tokens": 32})


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    made = tmp_path_factory.mktemp("made") / "model"
    CANDIDATE.fit(small, CANDIDATE.first, 1, math.inf, made)
    return check_model_folder(made)


def test_the_layer_that_was_learned_is_the_one_that_serves(small, folder):
    assert kind_of(folder) == TRANSFORMER
    logits = logits_of(folder, small.validation.reviews)
    decided = decide(logits, read_calibration(folder))
    assert (
        decided == small.validation.classes
    ).mean() > 0.45  # chance is a third; a random encoder of width 16
    served = Predictor(folder, "torch").predict(small.validation.texts)
    assert served.classes.tolist() == decided.tolist()


def test_the_folder_computes_what_the_layer_was_learned_on(small, folder):
    from safetensors.numpy import load_file

    _, features = small.kept["features"]
    numbers = load_file(folder / "model.safetensors")
    expected = features @ numbers["classifier.weight"].T + numbers["classifier.bias"]
    found = logits_of(folder, small.validation.reviews)
    spread = np.abs(expected).max()
    assert np.abs(found - expected).max() < 0.05 * spread  # in 16 bits


def test_the_encoder_runs_once_for_all_trials(small, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(frozen_encoder, "_network", None)
    changed = {"C": 0.1, "class_weight": "none"}
    CANDIDATE.fit(small, changed, 1, math.inf, tmp_path / "again")
    assert check_model_folder(tmp_path / "again")


def test_it_ends_where_its_time_does_and_knows_its_cost(small, tmp_path):
    fresh = small.first(50)
    assert 0 < CANDIDATE.estimate(fresh) < 60
    assert fresh.facts == small.facts
    with pytest.raises(OutOfTimeError):
        CANDIDATE.fit(fresh, CANDIDATE.first, 1, 0.0, tmp_path / "late")
    assert not (tmp_path / "late").exists()


def test_a_base_model_that_is_none_is_named(small, tmp_path):
    from dataclasses import replace

    with pytest.raises(UserError, match="base model"):
        CANDIDATE.estimate(replace(small, base_model=str(tmp_path), kept={}))
