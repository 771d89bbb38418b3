import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.training.options import TrainingOptions
from components.training.tuning import katib_search
from components.training.tuning import search as tune_step
from components.training.tuning.experiment import experiment_file

TABLE = [
    {
        "trial": number,
        "parameters": {"dropout": number / 10},
        "metrics": {"macro_f1": number / 10},
        "status": "finished",
        "seconds": 1.0,
    }
    for number in (1, 3, 2)
]


@pytest.fixture
def tune(tmp_path, monkeypatch):
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    monkeypatch.delenv("TUNING_BACKEND", raising=False)
    (tmp_path / "set.parquet").write_bytes(b"rows")

    def run(hyperparameters=None, trials=3, **scale):
        return tune_step.tune(
            tmp_path / "set.parquet",
            "minilm",
            {"seed": 3.0, **(hyperparameters or {})},
            trials,
            tmp_path / "log.json",
            **scale,
        )

    return run


@pytest.fixture
def searches(monkeypatch):
    """Replaces both searches; what each was asked."""
    asked = []

    def install(place, name):
        def fake(*given, **named):
            asked.append((name, given, named))
            return TABLE

        monkeypatch.setattr(place, name, fake)

    install(tune_step, "random_search")
    install(katib_search, "katib_search")
    return asked


def test_the_best_options_come_with_their_scores_and_the_trials_are_written(
    tune, searches, tmp_path
):
    best, scores = tune({"epochs": "2"})
    assert best == TrainingOptions(dropout=0.3, epochs=2, seed=3).to_dict()
    assert scores == {"macro_f1": 0.3}
    assert read_json(tmp_path / "log.json") == {"objective": "macro_f1", "best": 3, "trials": TABLE}


def test_the_search_is_here_unless_the_environment_sends_it_to_katib(tune, searches, monkeypatch):
    tune()
    monkeypatch.setenv("TUNING_BACKEND", "katib")
    tune(nodes=2, gpus_per_node=4)
    (here, *_), (there, given, scale) = searches
    assert (here, there) == ("random_search", "katib_search")
    assert scale == {"nodes": 2, "gpus_per_node": 4}
    assert given[1:3] == ("minilm", TrainingOptions(seed=3).to_dict())


def test_what_outlives_a_kill_is_tidied_up_at_the_end(tune, searches, monkeypatch, tmp_path):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    tune()
    tune({"epochs": 2})
    work, other = (given[5] for _, given, _ in searches)
    assert work.parent == other.parent == tmp_path / "checkpoints"
    assert work != other
    assert not work.exists()


@pytest.mark.parametrize(
    ("given", "backend", "message"),
    [
        ({"trials": 0}, "", "at least 1"),
        ({"hyperparameters": {"epoch": 3}}, "", "no training option epoch"),
        ({}, "Katib", "TUNING_BACKEND is 'Katib'; set it to katib"),
    ],
)
def test_mistakes_are_reported_before_anything_runs(
    tune, searches, monkeypatch, given, backend, message
):
    monkeypatch.setenv("TUNING_BACKEND", backend)
    with pytest.raises(UserError, match=message):
        tune(**given)
    assert searches == []


def test_where_no_trial_finishes_the_last_reason_is_reported_and_the_trials_are_written(
    tune, monkeypatch, tmp_path
):
    failed = [{**trial, "status": "failed", "reason": f"{trial['trial']}"} for trial in TABLE]
    monkeypatch.setattr(tune_step, "random_search", lambda *_: failed)
    with pytest.raises(UserError, match="all 3 trials failed; the last one: 2"):
        tune()
    assert read_json(tmp_path / "log.json")["best"] is None


def test_a_search_over_what_is_not_a_training_option_is_refused(
    tune, searches, monkeypatch, tmp_path
):
    manifest = experiment_file().read_text().replace("name: epochs", "name: patience")
    (tmp_path / "experiment.yaml").write_text(manifest)
    monkeypatch.setenv("KATIB_EXPERIMENT", str(tmp_path / "experiment.yaml"))
    with pytest.raises(UserError, match="patience is now named early_stopping_patience"):
        tune()
    assert searches == []
