import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.machine.errors import UserError
from pipelines.running.environment import PROJECT, check_databases, local_environment


def test_state_lies_in_one_absolute_folder(tmp_path, monkeypatch):
    for name in local_environment(tmp_path):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    found = local_environment(Path("state"))
    state = tmp_path / "state"
    assert found["FEATURE_STORE_DIR"] == str(state / "feature_store")
    assert found["CATALOGUE_URI"] == f"sqlite:///{state}/warehouse/catalogue.db"
    assert found["CATALOGUE_WAREHOUSE"] == str(state / "warehouse")
    assert found["MLFLOW_TRACKING_URI"] == f"sqlite:///{state}/mlflow/mlflow.db"
    assert found["CHECKPOINT_DIR"] == str(state / "checkpoints")
    # What the user set stays.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert local_environment(tmp_path)["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_a_state_that_may_not_be_written_is_said_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UserError, match=f"{tmp_path} may not be written; allow it, or name"):
        check_databases(tmp_path)


def test_a_command_finds_the_variables_in_its_environment(tmp_path):
    ask = "import json, os; print(json.dumps(dict(os.environ)))"
    without = {k: v for k, v in os.environ.items() if k != "CHECKPOINT_DIR"}
    command = [sys.executable, "-m", "pipelines.running.environment", tmp_path]
    command += [sys.executable, "-c", ask]
    said = subprocess.check_output(command, cwd=PROJECT, env=without, text=True)
    assert json.loads(said)["CHECKPOINT_DIR"] == str(tmp_path / "checkpoints")
