from dataclasses import fields
from pathlib import Path

import pytest

from components.shared.machine.errors import UserError
from components.training.options import TrainingOptions
from pipelines.running import run as command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the command line asked the runner for; the run itself is left out."""
    seen: dict = {}

    def runner(pipeline, parameters, *, runs, state):
        seen.update(name=pipeline.name, parameters=parameters, runs=runs, state=state)
        raise UserError("that is enough")

    monkeypatch.setattr(command, "run_locally", runner)
    return seen


def call(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 2


def test_only_what_is_given_is_passed_on(asked: dict) -> None:
    call("training", "--max-tokens", "64", "--accuracy-threshold", "0.9")
    assert asked["name"] == "review-sentiment-training"
    assert asked["parameters"] == {"max_tokens": 64, "accuracy_threshold": 0.9}
    assert (asked["runs"], asked["state"]) == (Path("runs"), Path("state"))


def test_hyperparameters_are_read_by_name(asked: dict) -> None:
    call("training", "--hyperparameters", "epochs=2", "learning_rate=1e-4", "class_weights=none")
    wanted = {"epochs": 2, "learning_rate": 1e-4, "class_weights": "none"}
    assert asked["parameters"]["hyperparameters"] == wanted


def test_help_lists_the_options_behind_a_dict(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["training", "--help"])
    said = capsys.readouterr().out
    for one in fields(TrainingOptions):
        assert f"  {one.name}={one.default}: " in said
    assert "--accuracy-threshold" in said
    assert "(default: 0.8)" in said


def test_a_hyperparameter_without_a_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    call("training", "--hyperparameters", "epochs")
    said = capsys.readouterr().err
    assert "error: hyperparameters: 'epochs' is not of the form name=value" in said


def test_local_paths_are_made_absolute_and_uris_are_not(
    asked: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reviews.csv").touch()
    monkeypatch.chdir(tmp_path)
    call("training", "--data-uri", "reviews.csv", "--base-model", "roberta-base")
    assert asked["parameters"]["data_uri"] == str(tmp_path / "reviews.csv")
    assert asked["parameters"]["base_model"] == "roberta-base"


def test_approval_needs_a_version_and_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    call("approval")
    assert "--version" in capsys.readouterr().err
