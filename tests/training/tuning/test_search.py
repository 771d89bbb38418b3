from dataclasses import dataclass

import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.machine.search_space import Parameter, SearchSpace
from components.training import fine_tune as loop
from components.training.options import TrainingOptions
from components.training.tuning import katib_search
from components.training.tuning import search as tune_step
from components.training.tuning.experiment import experiment_file

SPACE = SearchSpace((Parameter("dropout", "double", 0.1, 0.5),), "macro_f1", True, None)


@dataclass
class Result:
    macro_f1: float
    accuracy: float = 0.5
    validation_loss: float = 1.0


class Search:
    """Runs searches and keeps what they tried; `answer` makes a trial's score of its dropout."""

    def __init__(self, folder):
        self.folder = folder
        self.tried, self.answer = [], Result
        (folder / "set.parquet").write_bytes(b"rows")

    def fine_tune(self, training_set, base_model, options, model_folder):
        self.tried.append(options)
        model_folder.mkdir()
        return self.answer(options.dropout)

    def run(self, hyperparameters=None, trials=4, **scale):
        self.tried.clear()
        given = {"seed": 3.0, **(hyperparameters or {})}
        paths = self.folder / "set.parquet", self.folder / "log.json"
        return tune_step.tune(paths[0], "minilm", given, trials, paths[1], **scale)

    @property
    def log(self):
        return read_json(self.folder / "log.json")

    @property
    def trials(self):
        return self.log["trials"]


@pytest.fixture
def search(tmp_path, monkeypatch):
    for name in ("CHECKPOINT_DIR", "TUNING_BACKEND", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    made = Search(tmp_path)
    monkeypatch.setattr(loop, "fine_tune", made.fine_tune)
    monkeypatch.setattr(tune_step, "read_search_space", lambda _: SPACE)
    return made


def test_the_best_options_come_with_their_scores_and_the_trials_are_written(search):
    best, scores = search.run({"epochs": "2"})
    dropouts = [options.dropout for options in search.tried]
    assert len(set(dropouts)) == 4
    assert best == TrainingOptions(dropout=max(dropouts), epochs=2, seed=3).to_dict()
    assert scores == {"macro_f1": max(dropouts), "accuracy": 0.5, "validation_loss": 1.0}
    best_number = 1 + dropouts.index(max(dropouts))
    assert (search.log["objective"], search.log["best"]) == ("macro_f1", best_number)
    assert [trial["parameters"] for trial in search.trials] == [{"dropout": d} for d in dropouts]
    search.run({"seed": 4})
    assert [options.dropout for options in search.tried] != dropouts


def test_the_environment_sends_the_search_to_katib(search, monkeypatch):
    asked = []
    search.run()
    table = search.trials
    monkeypatch.setattr(
        katib_search, "katib_search", lambda *given, **scale: asked.append((given, scale)) or table
    )
    monkeypatch.setenv("TUNING_BACKEND", "katib")
    search.run(nodes=2, gpus_per_node=4)
    ((given, scale),) = asked
    assert search.tried == []
    assert scale == {"nodes": 2, "gpus_per_node": 4}
    assert given[1:3] == ("minilm", TrainingOptions(seed=3).to_dict())


def test_a_failing_trial_is_recorded_and_the_search_goes_on(search):
    def answer(dropout):
        if len(search.tried) == 2:
            raise RuntimeError("out of memory")
        return Result(float("nan") if len(search.tried) == 3 else dropout)

    search.answer = answer
    search.run()
    assert [(trial["status"], trial.get("reason")) for trial in search.trials] == [
        *(("finished", None), ("failed", "RuntimeError: out of memory")),
        ("failed", "UserError: training ended without a finite macro_f1"),
        ("finished", None),
    ]


def test_where_no_trial_finishes_the_last_reason_is_given_and_the_trials_are_written(search):
    search.answer = lambda dropout: 1 / 0
    with pytest.raises(UserError, match="all 4 trials failed; the last one: ZeroDivisionError"):
        search.run()
    assert search.log["best"] is None


def test_a_broken_search_goes_on_where_it_stopped_and_is_tidied_up_at_the_end(search, monkeypatch):
    checkpoints = search.folder / "checkpoints"
    monkeypatch.setenv("CHECKPOINT_DIR", str(checkpoints))

    def break_at_third(dropout):
        if len(search.tried) == 3:
            raise KeyboardInterrupt
        return Result(dropout)

    search.answer = break_at_third
    with pytest.raises(KeyboardInterrupt):
        search.run()
    before = [options.dropout for options in search.tried]
    search.answer = Result
    search.run({"epochs": 9})
    assert len(search.tried) == 4  # another search
    search.run()
    assert next(options.dropout for options in search.tried) == before[2]
    assert len(search.tried) == 2
    assert [trial["metrics"]["macro_f1"] for trial in search.trials[:2]] == before[:2]
    assert list(checkpoints.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "backend", "message"),
    [
        ({"trials": 0}, "", "at least 1"),
        ({"hyperparameters": {"epoch": 3}}, "", "no training option epoch"),
        ({}, "Katib", "TUNING_BACKEND is 'Katib'; set it to katib"),
    ],
)
def test_mistakes_are_reported_before_anything_runs(search, monkeypatch, given, backend, message):
    monkeypatch.setenv("TUNING_BACKEND", backend)
    with pytest.raises(UserError, match=message):
        search.run(**given)
    assert search.tried == []


def test_what_is_searched_must_be_training_options(search, monkeypatch):
    monkeypatch.undo()
    manifest = experiment_file().read_text().replace("name: epochs", "name: patience")
    (search.folder / "experiment.yaml").write_text(manifest)
    monkeypatch.setenv("KATIB_EXPERIMENT", str(search.folder / "experiment.yaml"))
    with pytest.raises(UserError, match="patience is now named early_stopping_patience"):
        search.run()


@pytest.mark.slow
def test_trials_reach_mlflow(search, monkeypatch):
    from components.shared.machine.tracking import tracking_client

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{search.folder / 'mlflow.db'}")
    search.run(trials=2)
    client = tracking_client()
    runs = client.search_runs([client.get_experiment_by_name("tuning").experiment_id])
    assert {run.data.metrics["macro_f1"] for run in runs} == {
        trial["metrics"]["macro_f1"] for trial in search.trials
    }
