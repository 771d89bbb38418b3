import json
import os

import pytest

from components.registry.versions import list_versions
from components.shared.machine.errors import UserError
from pipelines.approval import approval_pipeline
from pipelines.running.environment import local_environment
from pipelines.running.local import run_locally
from pipelines.running.run import write_report
from pipelines.training import training_pipeline

pytestmark = pytest.mark.slow

MODEL = "review-sentiment"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    for name in local_environment(tmp_path):
        monkeypatch.delenv(name, raising=False)
        # delenv alone would not undo what a run sets
        monkeypatch.setenv(name, "")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    import pandas as pd

    from components.data.sources import SAMPLE

    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    pd.read_csv(SAMPLE, dtype=str, keep_default_na=False).head(400).to_csv(path, index=False)
    return path


@pytest.fixture
def run(tiny_bert, reviews, tmp_path):
    def run(**changes):
        parameters = {"data_uri": str(reviews), "base_model": str(tiny_bert), "max_tokens": 48}
        parameters |= {"hyperparameters": {"epochs": 1, "min_steps": 0}}
        parameters |= {"accuracy_threshold": 0.0, "macro_f1_threshold": 0.0}
        return run_here(training_pipeline, parameters | changes, tmp_path)

    return run


def run_here(pipeline, parameters, home):
    return run_locally(pipeline, parameters, runs=home / "runs", state=home / "state", quiet=True)


def champion_of(home):
    os.environ |= {k: v for k, v in local_environment(home / "state").items() if v}
    return [v.version for v in list_versions(MODEL) if "champion" in v.aliases]


def test_a_model_above_the_gate_becomes_champion(run, tmp_path):
    first = run()
    assert champion_of(tmp_path) == ["1"]
    check = json.loads(first.artifact("check-deployment", "deployment_check").read_text())
    assert check["labels_equal"] >= 0.985 * check["reviews_asked"] > 0
    assert first.artifact("check-deployment", "manifest").read_text().count("InferenceService")
    report = write_report(first).read_text()
    assert "review-sentiment" in report
    assert "http://" not in report.replace("http://www.w3.org", "").replace("http://localhost", "")

    below = run(accuracy_threshold=1.01)
    assert champion_of(tmp_path) == ["1"]
    assert below.artifact("register-model", "registration") is None
    gate = json.loads(below.artifact("evaluate-classifier", "evaluation_summary").read_text())
    assert not gate["gate"]["passed"]
    assert "1.01" in " ".join(gate["gate"]["reasons"])
    assert gate["champion"]["verdict"] == "not worse"  # the same model, compared with itself
    assert write_report(below).exists()


@pytest.mark.parametrize(
    "labels",
    [
        "negative=1,2 positive=4,5",
        "bad=1,2 meh=3 fine=4,5",
        "one=1 two=2 three=3 four=4 five=5",
    ],
)
def test_a_model_learns_and_answers_the_names_that_it_was_given(run, labels):
    names = [part.split("=")[0] for part in labels.split()]
    done = run(labels=labels, balance="oversample")
    evaluation = json.loads(done.artifact("evaluate-classifier", "evaluation_summary").read_text())
    assert evaluation["classes"] == names
    check = json.loads(done.artifact("check-deployment", "deployment_check").read_text())
    assert check["labels_equal"] >= 0.985 * check["reviews_asked"] > 0
    report = write_report(done).read_text()
    assert all(f">{name}</th>" in report for name in names)
    assert "neutral</th>" not in report
    with pytest.raises(UserError, match="another model name"):
        run()


def test_a_version_under_manual_approval_waits(run, tmp_path):
    waiting = run(approval="manual")
    assert champion_of(tmp_path) == []
    assert waiting.artifact("check-deployment", "deployment_check") is None
    run_here(approval_pipeline, {"version": "1", "approved_by": "the tester"}, tmp_path)
    assert champion_of(tmp_path) == ["1"]
    assert [v.tags["approved_by"] for v in list_versions(MODEL)] == ["the tester"]


def test_the_best_trial_is_what_training_uses(run):
    tuned = run(tune_trials=2)
    search = json.loads(tuned.artifact("tune-hyperparameters", "trials_log").read_text())
    assert len(search["trials"]) == 2
    best = max(search["trials"], key=lambda trial: trial["metrics"]["macro_f1"])
    assert search["best"] == best["trial"]
    model = tuned.artifact("fine-tune-classifier", "model")
    used = json.loads((model / "training.json").read_text())["options"]
    assert {name: used[name] for name in best["parameters"]} == best["parameters"]
