from dataclasses import fields
from pathlib import Path

import pytest

from components.shared.machine.errors import UserError
from components.training.options import TrainingOptions
from pipelines.running import run as command


@pytest.fixture
def asked(monkeypatch):
    """What the command line asked the runner for; the run itself is left out."""
    seen: dict = {}

    def runner(pipeline, parameters, *, runs, state):
        seen.update(name=pipeline.name, parameters=parameters, runs=runs, state=state)
        raise UserError("that is enough")

    monkeypatch.setattr(command, "run_locally", runner)
    return seen


@pytest.fixture
def call(capsys):
    """What the command line says on standard error when it is asked for this."""

    def call(*words):
        with pytest.raises(SystemExit, match="2"):
            command.main(words)
        return capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--max-tokens 64 --accuracy-threshold 0.9", {"max_tokens": 64, "accuracy_threshold": 0.9}),
        (
            "--hyperparameters epochs=2 learning_rate=1e-4 class_weights=none",
            {"hyperparameters": {"epochs": 2, "learning_rate": 1e-4, "class_weights": "none"}},
        ),
        # A local path becomes absolute.
        (
            "--data-uri reviews.csv --base-model roberta-base",
            {"data_uri": "{here}/reviews.csv", "base_model": "roberta-base"},
        ),
    ],
)
def test_only_what_is_given_is_passed_on(asked, call, tmp_path, monkeypatch, words, wanted):
    (tmp_path / "reviews.csv").touch()
    monkeypatch.chdir(tmp_path)
    call("training", *words.split())
    if "data_uri" in wanted:
        wanted = wanted | {"data_uri": wanted["data_uri"].format(here=tmp_path)}
    assert asked == {
        **{"name": "review-sentiment-training", "parameters": wanted},
        **{"runs": Path("runs"), "state": Path("state")},
    }


def test_what_is_missing_is_named(call):
    said = call("training", "--hyperparameters", "epochs")
    assert "error: hyperparameters: 'epochs' is not of the form name=value" in said
    assert "--version" in call("approval")


def test_help_lists_the_options_behind_a_dict(capsys):
    with pytest.raises(SystemExit):
        command.main(["training", "--help"])
    said = capsys.readouterr().out
    for one in fields(TrainingOptions):
        assert f"  {one.name}={one.default}: " in said
    assert "--accuracy-threshold" in said
    assert "(default: 0.8)" in said
