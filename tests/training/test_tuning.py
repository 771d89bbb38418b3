import json
from dataclasses import dataclass

import pytest
import yaml

from components.contracts.errors import UserError
from components.contracts.files import read_json
from components.training import fine_tune as loop
from components.training.resumable import fine_tune_resumably, place_for, tune_resumably
from components.training.tuning import random_search, write_trials_table


@dataclass
class Result:
    macro_f1: float
    accuracy: float = 0.5
    validation_loss: float = 1.0


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "kind": "Experiment",
                "spec": {
                    "objective": {"type": "maximize", "objectiveMetricName": "macro_f1"},
                    "algorithm": {"algorithmName": "random"},
                    "parameters": [
                        {
                            "name": "dropout",
                            "parameterType": "double",
                            "feasibleSpace": {"min": "0.1", "max": "0.5"},
                        }
                    ],
                },
            }
        )
    )
    return path


@pytest.fixture
def trials_of(monkeypatch):
    """Replaces fine-tuning: the score is the dropout, or what `answer` does with it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    tried = []

    def install(answer=Result):
        def fake(training_set, base_model, options, model_folder, checkpoints, facts=None):
            tried.append(options)
            model_folder.mkdir()
            return answer(options.dropout)

        monkeypatch.setattr(loop, "fine_tune", fake)
        return tried

    return install


@pytest.fixture
def search(experiment, tmp_path):
    training_set = tmp_path / "training_set.parquet"
    training_set.write_bytes(b"rows")

    def run(trials=4, **changes):
        arguments = {
            "training_set": training_set,
            "base_model": "minilm",
            "base_options": {"epochs": 2.0, "seed": 5},
            "experiment": experiment,
            "trials": trials,
            "trials_log": tmp_path / "trials.json",
            "work_folder": tmp_path / "work",
            "seed": 1,
        }
        return random_search(**{**arguments, **changes})

    return run


def test_the_best_trial_gives_the_options(search, trials_of, tmp_path):
    tried = trials_of()
    best = search()
    assert len(tried) == 4
    assert best["dropout"] == max(options.dropout for options in tried)
    assert (best["epochs"], best["seed"]) == (2, 5)
    table = read_json(tmp_path / "trials.json")
    assert [trial["metrics"]["macro_f1"] for trial in table] == [o.dropout for o in tried]
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"trials.json"}


def test_less_is_better_where_the_manifest_minimizes(search, trials_of, experiment):
    content = yaml.safe_load(experiment.read_text())
    content["spec"]["objective"]["type"] = "minimize"
    experiment.write_text(yaml.safe_dump(content))
    tried = trials_of()
    assert search()["dropout"] == min(options.dropout for options in tried)


def test_the_seed_decides_the_draws(search, trials_of):
    tried = trials_of()
    search()
    first = [options.dropout for options in tried]
    tried.clear()
    search(seed=2)
    assert [options.dropout for options in tried] != first


def test_a_failing_trial_is_recorded_and_the_search_goes_on(search, trials_of, tmp_path):
    def answer(dropout):
        if dropout > 0.3:
            raise RuntimeError("out of memory")
        return Result(dropout)

    trials_of(answer)
    best = search(trials=6)
    assert best["dropout"] <= 0.3
    failed = [t for t in read_json(tmp_path / "trials.json") if t["status"] == "failed"]
    assert failed
    assert failed[0]["reason"] == "RuntimeError: out of memory"


def test_a_score_that_is_no_number_is_a_failure(search, trials_of):
    trials_of(lambda dropout: Result(float("nan")))
    with pytest.raises(UserError, match=r"all 2 trials failed.*finite macro_f1"):
        search(trials=2)


def test_a_broken_search_goes_on_where_it_stopped(search, trials_of):
    def break_at_third(dropout):
        if len(tried) == 3:
            raise KeyboardInterrupt
        return Result(dropout)

    tried = trials_of(break_at_third)
    with pytest.raises(KeyboardInterrupt):
        search()
    before = [options.dropout for options in tried]
    tried.clear()
    trials_of()
    best = search()
    assert tried[0].dropout == before[2]
    assert len(tried) == 2
    assert best["dropout"] == max([*before, *(options.dropout for options in tried)])
    tried.clear()
    search(base_options={"epochs": 3})
    assert len(tried) == 4


def test_wrong_options_and_no_trials_are_refused_before_anything_runs(
    search, trials_of, experiment
):
    tried = trials_of()
    with pytest.raises(UserError, match="at least 1"):
        search(trials=0)
    with pytest.raises(UserError, match="no training option epoch"):
        search(base_options={"epoch": 3})
    experiment.write_text(experiment.read_text().replace("dropout", "drop_out"))
    with pytest.raises(UserError, match="no training option drop_out"):
        search()
    assert tried == []


def test_the_table_escapes_and_marks_the_best(experiment, tmp_path):
    table = [
        {
            "trial": 1,
            "parameters": {"dropout": 0.2},
            "metrics": {"accuracy": 0.5, "macro_f1": 0.4},
            "status": "finished",
            "seconds": 3.0,
        },
        {
            "trial": 2,
            "parameters": {"dropout": 0.3},
            "metrics": {},
            "status": "failed",
            "seconds": 1.0,
            "reason": "<script>",
        },
    ]
    write_trials_table(table, experiment, tmp_path / "table.html")
    page = (tmp_path / "table.html").read_text()
    assert page.count('<tr class="best">') == 1
    assert '<tr class="best"><td>1</td>' in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_search_as_a_step_writes_both_tables_and_tidies_up(
    search, trials_of, experiment, tmp_path, monkeypatch
):
    trials_of()
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("KATIB_EXPERIMENT", str(experiment))
    (tmp_path / "set.parquet").write_bytes(b"rows")
    best, scores = tune_resumably(
        tmp_path / "set.parquet",
        "minilm",
        {"seed": 3.0},
        3,
        tmp_path / "log.json",
        tmp_path / "table.html",
    )
    assert scores["macro_f1"] == best["dropout"]
    assert len(read_json(tmp_path / "log.json")) == 3
    assert (tmp_path / "table.html").exists()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_killed_training_finds_its_checkpoints_and_a_finished_one_leaves_none(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    (tmp_path / "set.parquet").write_bytes(b"rows")
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
        return fine_tune_resumably(
            tmp_path / "set.parquet", "minilm", options, tmp_path / "m", {}, max_tokens=64
        )

    with pytest.raises(KeyboardInterrupt):
        train(epochs=2.0)
    assert (seen[0] / "step").exists()
    train(epochs=2)
    assert seen[1] == seen[0]
    assert not seen[0].exists()
    train(epochs=3)
    assert seen[2] != seen[0]


def test_without_a_checkpoint_folder_there_is_no_place(monkeypatch):
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    assert place_for("x") is None


@pytest.mark.slow
def test_trials_reach_mlflow(search, trials_of, tmp_path, monkeypatch):
    from components.contracts.tracking import tracking_client

    trials_of(lambda dropout: Result(dropout))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    search(trials=2)
    client = tracking_client()
    experiment = client.get_experiment_by_name("tuning")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    table = json.loads((tmp_path / "trials.json").read_text())
    assert {run.data.metrics["macro_f1"] for run in runs} == {
        trial["metrics"]["macro_f1"] for trial in table
    }
