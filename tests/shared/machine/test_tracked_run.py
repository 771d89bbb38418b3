import os
import shutil
import signal
from dataclasses import replace

import pytest

from components.shared.machine.tracked_run import Training, run_of, training_run
from components.shared.machine.tracking import tracking_client

TRAINING = Training(
    experiment="reviews",
    key="k1",
    parameters={"epochs": 3, "base_model": "minilm"},
    facts={"data_fingerprint": "f" * 32, "code_version": "abc"},
    dataset=("reviews-ffffffffffff", "f" * 32, 1200),
)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A migrated SQLite database: seconds of work, done once."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        tracking_client()
    return database


@pytest.fixture
def client(tmp_path, monkeypatch, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("RUN_NAME", "2026-11-21-a")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tracking_client()


def runs(client):
    return client.search_runs([client.get_experiment_by_name("reviews").experiment_id])


def test_a_run_says_what_was_trained_on_what_and_how_it_went(client):
    with training_run(TRAINING) as run:
        assert client.get_run(run.id).info.status == "RUNNING"
        run.evaluated({"step": 10, "macro_f1": 0.5, "train_loss": 0.9})
        run.evaluated({"step": 20, "macro_f1": 0.6, "train_loss": 0.5})
        run.evaluated({"macro_f1": 0.61})
    run_of(run.id).log({"macro_f1": 0.55}, tags={"gate": "closed"})
    (seen,) = runs(client)
    assert (seen.info.run_name, seen.info.status) == ("2026-11-21-a", "FINISHED")
    assert seen.data.params == {"epochs": "3", "base_model": "minilm"}
    assert {"gate": "closed", "code_version": "abc"}.items() <= seen.data.tags.items()
    assert seen.data.metrics["macro_f1"] == 0.55
    curve = client.get_metric_history(run.id, "training.macro_f1")
    assert [(point.step, point.value) for point in curve] == [(10, 0.5), (20, 0.6)]
    (data,) = seen.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("reviews-ffffffffffff", "f" * 32)
    assert {tag.key: tag.value for tag in data.tags}["data_fingerprint"] == "f" * 32


@pytest.mark.parametrize(
    ("raised", "status"),
    [(KeyboardInterrupt, "KILLED"), (SystemExit(143), "KILLED"), (ValueError, "FAILED")],
)
def test_a_run_ends_as_its_training_does(client, raised, status):
    with pytest.raises((KeyboardInterrupt, SystemExit, ValueError)), training_run(TRAINING):
        raise raised
    assert [run.info.status for run in runs(client)] == [status]


def test_a_killed_training_goes_on_in_its_run_and_a_finished_one_begins_another(client):
    with pytest.raises(SystemExit), training_run(TRAINING):
        os.kill(os.getpid(), signal.SIGTERM)
    (killed,) = runs(client)
    assert killed.info.status == "KILLED"
    with training_run(TRAINING) as again:
        assert again.id == killed.info.run_id
    assert [run.info.status for run in runs(client)] == ["FINISHED"]
    with training_run(TRAINING) as another:
        assert another.id != again.id


def test_training_does_not_depend_on_mlflow(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with training_run(TRAINING) as run:
        run.evaluated({"step": 1, "macro_f1": 0.5})
    assert run.id == ""
    assert caplog.records == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")
    with training_run(TRAINING) as run:
        run.evaluated({"step": 1, "macro_f1": 0.5})
    assert "the run is not tracked" in caplog.text


def test_more_entries_than_mlflow_takes_at_once_are_all_logged(client):
    many = replace(TRAINING, parameters={f"p{n}": n for n in range(101)})
    with training_run(many) as run:
        run.log({f"m{n}": n for n in range(1001)}, tags={f"t{n}": "x" for n in range(101)})
    (seen,) = runs(client)
    assert len(seen.data.params) == 101
    assert len(seen.data.metrics) == 1001
    assert sum(name.startswith("t") and name[1:].isdigit() for name in seen.data.tags) == 101
