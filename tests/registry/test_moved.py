"""MLflow's database knows absolute paths: a state folder that was moved or copied works still."""

import shutil

import pytest

from components.registry import versions as registry
from components.shared.machine.errors import UserError
from components.shared.machine.tracking import experiment_id, tracking_client
from tests.registry.conftest import NAME


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_registry_works_from_another_folder(
    mlflow_file, register_version, make_model_folder, tmp_path, monkeypatch, move
):
    register_version()
    registry.promote(NAME, "1")
    (tmp_path / "a b").mkdir()
    move(mlflow_file.parent, tmp_path / "a b" / "mlflow")
    shutil.rmtree(mlflow_file.parent / "artifacts", ignore_errors=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/a b/mlflow/mlflow.db")
    assert registry.fetch_champion(NAME, tmp_path / "champion") == "1"
    register_version(make_model_folder(tmp_path / "second", b"2"), pipeline_run="run-2")
    registry.fetch_version(NAME, "2", tmp_path / "model", tmp_path / "predictions")
    assert not (mlflow_file.parent / "artifacts").exists()
    assert len(list((tmp_path / "a b" / "mlflow" / "artifacts").iterdir())) == 2


def test_an_experiment_without_artifacts_moves_too(mlflow_file, tmp_path, monkeypatch):
    made = experiment_id(tracking_client(), NAME)
    shutil.move(mlflow_file.parent, tmp_path / "moved" / "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/moved/mlflow/mlflow.db")
    found = tracking_client().get_experiment(made).artifact_location
    assert found == (tmp_path / "moved" / "mlflow" / "artifacts").as_uri()


def test_an_experiment_of_the_users_own_stays_where_it_is(mlflow_file, tmp_path):
    own = (tmp_path / "own" / "artifacts").as_uri()
    made = tracking_client().create_experiment("own", artifact_location=own)
    assert tracking_client().get_experiment(made).artifact_location == own


@pytest.mark.parametrize("content", [b"not a database " * 300, None])
def test_a_registry_that_cannot_be_used_is_one_sentence(mlflow_file, content):
    mlflow_file.unlink()
    if content:
        mlflow_file.write_bytes(content)
    else:
        mlflow_file.mkdir()
    with pytest.raises(UserError, match=r"mlflow\.db cannot be used .*; restore it from a copy"):
        registry.list_versions(NAME)
