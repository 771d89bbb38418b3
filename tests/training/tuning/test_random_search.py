from dataclasses import dataclass

import pytest

from components.training import fine_tune as loop
from components.training.options import TrainingOptions
from components.training.tuning.experiment import Parameter, SearchSpace
from components.training.tuning.search import random_search

SPACE = SearchSpace((Parameter("dropout", "double", 0.1, 0.5),), "macro_f1", True, None)


@dataclass
class Result:
    macro_f1: float
    accuracy: float = 0.5
    validation_loss: float = 1.0


@pytest.fixture
def trials_of(monkeypatch):
    """Replaces fine-tuning: the score is the dropout, or what `answer` does with it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    tried = []

    def install(answer=Result):
        def fake(training_set, base_model, options, model_folder):
            tried.append(options)
            model_folder.mkdir()
            return answer(options.dropout)

        monkeypatch.setattr(loop, "fine_tune", fake)
        return tried

    return install


@pytest.fixture
def search(tmp_path):
    training_set = tmp_path / "training_set.parquet"
    training_set.write_bytes(b"rows")

    def run(trials=4, seed=1, **options):
        options = TrainingOptions.from_dict({"epochs": 2, "seed": seed, **options})
        return random_search(training_set, "minilm", options, SPACE, trials, tmp_path / "work")

    return run


def test_all_trials_run_on_their_draws_and_leave_their_record_alone(search, trials_of, tmp_path):
    tried = trials_of()
    table = search()
    assert [trial["metrics"]["macro_f1"] for trial in table] == [o.dropout for o in tried]
    assert len(table) == 4
    assert {(options.epochs, options.seed) for options in tried} == {(2, 1)}
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"trials.json"}


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


def test_a_score_that_is_not_finite_is_a_failure(search, trials_of):
    trials_of(lambda dropout: Result(float("nan")))
    (trial,) = search(trials=1)
    assert trial["status"] == "failed"
    assert trial["reason"] == "UserError: training ended without a finite macro_f1"


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
    search(epochs=3)
    assert len(tried) == 4


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
