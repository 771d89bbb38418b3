from dataclasses import dataclass

import pytest
import yaml

from components.shared.machine.errors import UserError
from components.training import fine_tune as loop
from components.training.tuning.experiment import read_search_space
from components.training.tuning.random_search import random_search
from components.training.tuning.trials import best_of


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
            "work_folder": tmp_path / "work",
            "seed": 1,
        }
        return random_search(**{**arguments, **changes})

    return run


def test_all_trials_run_and_the_best_gives_the_options(search, trials_of, experiment, tmp_path):
    tried = trials_of()
    table = search()
    assert [trial["metrics"]["macro_f1"] for trial in table] == [o.dropout for o in tried]
    assert len(table) == 4
    best, scores = best_of(table, read_search_space(experiment), {"epochs": 2.0, "seed": 5})
    assert best["dropout"] == scores["macro_f1"] == max(options.dropout for options in tried)
    assert (best["epochs"], best["seed"]) == (2, 5)
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"trials.json"}


def test_less_is_better_where_the_manifest_minimizes(search, trials_of, experiment):
    content = yaml.safe_load(experiment.read_text())
    content["spec"]["objective"]["type"] = "minimize"
    experiment.write_text(yaml.safe_dump(content))
    tried = trials_of()
    best, _ = best_of(search(), read_search_space(experiment), {})
    assert best["dropout"] == min(options.dropout for options in tried)


def test_the_seed_decides_the_draws(search, trials_of):
    tried = trials_of()
    search()
    first = [options.dropout for options in tried]
    tried.clear()
    search(seed=2)
    assert [options.dropout for options in tried] != first


def test_a_failing_trial_is_recorded_and_the_search_goes_on(search, trials_of):
    def answer(dropout):
        if dropout > 0.3:
            raise RuntimeError("out of memory")
        return Result(dropout)

    trials_of(answer)
    table = search(trials=6)
    assert len(table) == 6
    failed = [trial for trial in table if trial["status"] == "failed"]
    assert failed
    assert failed[0]["reason"] == "RuntimeError: out of memory"


def test_a_score_that_is_no_number_is_a_failure(search, trials_of, experiment):
    trials_of(lambda dropout: Result(float("nan")))
    with pytest.raises(UserError, match=r"all 2 trials failed.*finite macro_f1"):
        best_of(search(trials=2), read_search_space(experiment), {})


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
    table = search()
    assert tried[0].dropout == before[2]
    assert len(tried) == 2
    assert [trial["metrics"]["macro_f1"] for trial in table] == [
        *before[:2],
        *(options.dropout for options in tried),
    ]
    tried.clear()
    search(base_options={"epochs": 3})
    assert len(tried) == 4


def test_wrong_options_are_refused_before_anything_runs(search, trials_of, experiment):
    tried = trials_of()
    with pytest.raises(UserError, match="no training option epoch"):
        search(base_options={"epoch": 3})
    experiment.write_text(experiment.read_text().replace("dropout", "drop_out"))
    with pytest.raises(UserError, match="no training option drop_out"):
        search()
    assert tried == []


@pytest.mark.slow
def test_trials_reach_mlflow(search, trials_of, tmp_path, monkeypatch):
    from components.shared.machine.tracking import tracking_client

    trials_of(lambda dropout: Result(dropout))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    table = search(trials=2)
    client = tracking_client()
    experiment = client.get_experiment_by_name("tuning")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    assert {run.data.metrics["macro_f1"] for run in runs} == {
        trial["metrics"]["macro_f1"] for trial in table
    }
