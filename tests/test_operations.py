"""The commands of docs/operations.md, on a real Postgres behind a stand-in for kubectl."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.features.test_postgres import INITDB, postgres, pytestmark  # noqa: F401
from tests.manifests.test_databases import CLIENTS, PIPELINE, ask, clients, connect, mlflow_server  # noqa: F401

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"

KUBECTL = """#!/bin/sh
# What a command would do in the cluster, here: exec in the pod of Postgres, keys of a Secret.
case "$*" in
  *" exec "*) while [ "$1" != -- ]; do shift; done; shift; exec "$@" ;;
  *" get secret "*) key=${*##*.data.}; eval "printf %s \\"\\$MLFLOW_OF_${key%\\}}\\"" | base64 ;;
  *" port-forward "*) exec sleep 60 ;;
esac
"""


def block(heading):
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.search(r"```sh\n(.*?)```", section, flags=re.DOTALL).group(1)


@pytest.fixture(scope="module")
def shell(postgres, clients, tmp_path_factory):  # noqa: F811
    """Runs a block of the page in a folder, as an administrator of the cluster would."""
    folder = tmp_path_factory.mktemp("operations")
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    with connect(postgres) as connection:
        word = postgres["PGPASSWORD"]
        connection.execute(f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{word}'")
    path = f"{folder}:{Path(INITDB).parent}:{os.environ['PATH']}"
    server = {name: value for name, value in postgres.items() if name != "PGDATABASE"}
    secret = {f"MLFLOW_OF_{key}": value for key, value in clients["mlflow"].items()}
    environment = {**os.environ, **server, **secret, "PATH": path, "NAMESPACE": "reviews"}

    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)

    def run(text):
        # Nothing to wait for: the stand-in forwards no port.
        command = ["bash", "-e", "-o", "pipefail", "-c", text.replace("sleep 3\n", "")]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_what_is_backed_up_is_restored_as_it_was(shell, clients):  # noqa: F811
    for name in CLIENTS:
        with connect(clients[name]) as connection:
            connection.execute("CREATE TABLE kept (a int)")
            connection.execute("INSERT INTO kept VALUES (7)")
    assert shell(block("Backup")).splitlines() == [f"{name}.dump is whole" for name in CLIENTS]
    for name in CLIENTS:
        with connect(clients[name]) as connection:
            connection.execute("DROP TABLE kept")
            connection.execute("CREATE TABLE of_a_later_schema (a int)")
    shell(block("Restore"))
    for name, other in (CLIENTS, CLIENTS[::-1]):
        with connect(clients[name]) as connection:
            assert connection.execute("SELECT a FROM kept").fetchall() == [(7,)]
            tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'of_a_later_schema'"
            assert connection.execute(tables).fetchone() == (0,)
            # Still the client's own, and nobody else's.
            connection.execute("DROP TABLE kept")
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            connect(clients[name], other)


def test_an_older_database_is_upgraded(shell, clients, monkeypatch):  # noqa: F811
    from alembic.command import upgrade
    from alembic.script import ScriptDirectory
    from mlflow.exceptions import MlflowException
    from mlflow.store.db.utils import _get_alembic_config, _verify_schema
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    for name, value in clients["mlflow"].items():
        monkeypatch.setenv(name, value)
    engine = create_engine("postgresql+psycopg://")
    Base.metadata.create_all(engine)
    config = _get_alembic_config("postgresql+psycopg://")
    head = ScriptDirectory.from_config(config).get_current_head()
    upgrade(config, ScriptDirectory.from_config(config).get_revision(head).down_revision)
    with pytest.raises(MlflowException, match="mlflow db upgrade"):
        _verify_schema(engine)
    shell(block("Upgrade").replace("15432", clients["mlflow"]["PGPORT"]))
    _verify_schema(engine)


def test_a_person_gets_a_login(shell, mlflow_server):  # noqa: F811
    asked = block("Logins at MLflow").replace(":5000", f":{mlflow_server}")
    shell(asked.replace("--user pipeline", f"--user '{':'.join(PIPELINE)}'"))
    experiments = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert ask(mlflow_server, experiments, user=("kim", "a long password")) == 200
