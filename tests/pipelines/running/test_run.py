from dataclasses import fields
from pathlib import Path

import pytest

from components.shared.machine.errors import EXIT_CODES, UserError
from components.shared.machine.files import write_json
from components.training.options import TrainingOptions
from pipelines.running import run as command
from pipelines.running.local import Run, StepFailed
from tests.monitoring.made_up_summary import summary


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


@pytest.fixture
def ended(monkeypatch, tmp_path):
    """Runs nothing: the command line finds these artifacts (JSON by step and name) of a run."""
    monkeypatch.setattr(command, "write_report", lambda run: run.folder / "report.html")

    def ended(artifacts, **parameters):
        for path, content in artifacts.items():
            write_json(tmp_path / path, content)
        run = Run(tmp_path, {"step": 60.0}, {"model_name": "review-sentiment"} | parameters)
        monkeypatch.setattr(command, "run_locally", lambda *_, **__: run)

    return ended


EVALUATED = {"evaluate-classifier/evaluation_summary": {"gate": {"warnings": [], "reasons": []}}}
REGISTERED = EVALUATED | {"register-model/registration": {"version": "2"}}
CHECKED = REGISTERED | {"check-deployment/deployment_check": {}}


LOOKED = {
    "monitor-answers/monitoring_summary": summary().to_dict(),
    "monitor-answers/monitoring_page": "a page",
}
CALM = LOOKED | {
    "monitor-answers/monitoring_summary": summary(
        verdict="no drift", findings=[], concept_drift="no"
    ).to_dict()
}


def tried(step, name, decision):
    outcome = {"version": "2", "decision": decision, "reason": "it failed", "stable_version": "1"}
    return {f"{step}/{name}": outcome, f"{step}/report": "a page"}


@pytest.mark.parametrize(
    ("words", "artifacts", "code", "said"),
    [
        ("training", CHECKED, 0, "version 2 is champion; `make serve"),
        ("training", REGISTERED, 0, "version 2 waits: `make approve VERSION=2"),
        ("training", EVALUATED, 3, "nothing was registered"),
        ("approval --version 2 --approved-by me", {}, 0, "version 2 is champion"),
        ("rollout", tried("roll-out-model", "rollout", "promote"), 0, "was promoted"),
        ("rollout", tried("roll-out-model", "rollout", "roll_back"), 4, "was rolled back: it"),
        ("ab-test --version 2", tried("run-ab-test", "ab_test", "promote"), 0, "serves now"),
        ("ab-test --version 2", tried("run-ab-test", "ab_test", "roll_back"), 4, "1 stays"),
        ("monitoring --log-uri log", LOOKED, 6, "drifted: reviews version 3, 2,100 answers"),
        ("monitoring --log-uri log", CALM, 0, "no drift: reviews version 3"),
    ],
)
def test_a_script_sees_how_a_run_ended(ended, capsys, words, artifacts, code, said):
    ended(artifacts)
    try:
        command.main(words.split())
        found = 0
    except SystemExit as error:
        found = error.code
    assert found == code
    assert said in capsys.readouterr().out


def test_hints_name_the_model_and_the_state_that_the_run_had(ended, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_STATE", "elsewhere")
    ended(REGISTERED, model_name="sentiment-fr")
    command.main(["training"])
    assert "`make approve VERSION=2 MODEL_NAME=sentiment-fr STATE=elsewhere`" in (
        capsys.readouterr().out
    )


def test_an_approval_is_refused_where_the_check_fails(monkeypatch, capsys):
    def refused(*_, **__):
        raise StepFailed("check-deployment", "3 reviews differ", "all output: log.txt", 2)

    monkeypatch.setattr(command, "run_locally", refused)
    with pytest.raises(SystemExit, match="5"):
        command.main(["approval", "--version", "2", "--approved-by", "me"])
    assert "version 2 is not approved: step check-deployment failed: 3" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["rollout", "--help"]])
def test_help_names_the_exit_codes(words, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    said = capsys.readouterr().out
    documented = (Path(__file__).parents[3] / "README.md").read_text()
    for line in EXIT_CODES.splitlines()[1:]:
        assert line in said
        assert f"| {line.split()[0]} |" in documented
