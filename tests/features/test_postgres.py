"""The cluster's configuration against a real Postgres server, where one is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.feature_store import open_store
from components.shared.machine.online_features import online_features
from tests.features.test_side_by_side import finish, start

REPOSITORY = Path(__file__).parents[2]


def _binaries():
    """Folder of initdb and pg_ctl: on the PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        _binaries() is None, reason="Postgres is not installed (apt-get install postgresql)"
    ),
]


@pytest.fixture(scope="module")
def postgres():
    """A temporary server on a free port; its connection as libpq's variables."""
    binaries = _binaries()
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    # The server refuses to run as root.
    user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "nobody")
    password = folder / "password"
    password.write_text("p'a%s@/:ss\n".replace("'", ""))
    password.chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command):
        subprocess.run([*user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    run(
        str(binaries / "initdb"),
        *("-D", data, "-U", "feast", "-A", "scram-sha-256", "--pwfile", str(password)),
    )
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run(str(binaries / "pg_ctl"), "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
    yield {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGDATABASE": "postgres",
        "PGUSER": "feast",
        "PGPASSWORD": password.read_text().strip(),
        "PGSSLMODE": "disable",
    }
    run(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_the_round_trip_on_postgres_with_concurrent_runs(
    postgres, store_dir, make_prepared, tiny_bert, tmp_path, monkeypatch
):
    for name, value in postgres.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(
        "FEATURE_STORE_CONFIG", str(REPOSITORY / "feature_repo" / "feature_store.postgres.yaml")
    )
    data = [make_prepared(rows=200, seed=seed) for seed in (1, 2)]
    processes = [
        start(prepared, tiny_bert, tmp_path / f"run{number}")
        for number, prepared in enumerate(data)
    ]
    services = [finish(process) for process in processes]
    store = open_store()
    assert {service.name for service in store.list_feature_services()} == set(services)
    for number, (prepared, service) in enumerate(zip(data, services, strict=True)):
        written = tmp_path / f"set{number}.parquet"
        assert retrieve_training_set(prepared, service, written).rows == 200
        rows = pq.read_table(written).to_pylist()
        ids = [row["review_id"] for row in rows]
        assert online_features([*ids, "unknown"], service, store) == [*rows, None]
    assert not list(store_dir.glob("*.db"))
