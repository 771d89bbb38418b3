import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.training.options import TrainingOptions
from components.training.tuning import katib_search
from components.training.tuning import search as tune_step

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
            tmp_path / "table.html",
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


def test_the_best_options_come_with_their_scores_and_both_tables_are_written(
    tune, searches, tmp_path
):
    best, scores = tune({"epochs": "2"})
    assert best == TrainingOptions(dropout=0.3, epochs=2, seed=3).to_dict()
    assert scores == {"macro_f1": 0.3}
    assert read_json(tmp_path / "log.json") == TABLE
    assert '<tr class="best"><td>3</td>' in (tmp_path / "table.html").read_text()


def test_the_search_is_here_unless_the_environment_sends_it_to_katib(tune, searches, monkeypatch):
    tune()
    monkeypatch.setenv("TUNING_BACKEND", "katib")
    tune(nodes=2, gpus_per_node=4)
    (here, _, where), (there, given, scale) = searches
    assert (here, there) == ("random_search", "katib_search")
    assert where == {"seed": 3}
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
    ("given", "backend", "told"),
    [
        ({"trials": 0}, "", "at least 1"),
        ({"hyperparameters": {"epoch": 3}}, "", "no training option epoch"),
        ({}, "Katib", "TUNING_BACKEND is 'Katib'; set it to katib"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tune, searches, monkeypatch, given, backend, told):
    monkeypatch.setenv("TUNING_BACKEND", backend)
    with pytest.raises(UserError, match=told):
        tune(**given)
    assert searches == []
