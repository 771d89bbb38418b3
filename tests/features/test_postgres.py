import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.feature_store import open_store
from components.shared.machine.online_features import online_features
from components.shared.machine.ports import free_port
from tests.features.test_side_by_side import publish_at_once

CONFIG = Path(__file__).parents[2] / "feature_repo" / "feature_store.postgres.yaml"
# initdb and pg_ctl are on the PATH, or where Debian puts them.
DEBIANS = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
INITDB = shutil.which("initdb", path=os.pathsep.join([os.environ["PATH"], *DEBIANS]))
REASON = "Postgres is not installed (apt-get install postgresql)"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(INITDB is None, reason=REASON)]


@pytest.fixture(scope="module")
def postgres():
    """A temporary server on a free port; its connection as libpq's variables."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    # The server refuses to run as root.
    user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "nobody")
    password = folder / "password"
    password.write_text("pa%s@/:ss\n")
    password.chmod(0o644)
    port = free_port("127.0.0.1", 0)

    def run(*command):
        subprocess.run([*user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    control = [str(Path(INITDB).with_name("pg_ctl")), "-D", data, "-w"]
    run(INITDB, "-D", data, "-U", "feast", "-A", "scram-sha-256", "--pwfile", str(password))
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run(*control, "-o", options, "-l", f"{folder}/log", "start")
    yield {
        **{"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGSSLMODE": "disable"},
        **{"PGUSER": "feast", "PGPASSWORD": password.read_text().strip(), "PGDATABASE": "postgres"},
    }
    run(*control, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_the_round_trip_on_postgres_with_concurrent_runs(
    postgres, store_dir, make_prepared, tiny_bert, tmp_path, monkeypatch
):
    for name, value in postgres.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FEATURE_STORE_CONFIG", str(CONFIG))
    data = [make_prepared(rows=200, seed=seed) for seed in (1, 2)]
    services = publish_at_once(data, tiny_bert, tmp_path)
    store = open_store()
    names = {service.name for service in store.list_feature_services()}
    assert names == {*services, "sentiment_training"}
    ids = [f"r{row:05d}" for row in range(200)]
    found = online_features([*ids, "unknown"], services[0], store)
    assert found.pop() is None
    sets = []
    for number, (prepared, service) in enumerate(zip(data, services, strict=True)):
        written = tmp_path / f"set{number}.parquet"
        assert retrieve_training_set(prepared, service, written).rows == 200
        sets.append(pq.read_table(written).to_pylist())
    # Online an id has one text: that of the run that came second.
    assert [row["input_ids"] for row in found] in [[r["input_ids"] for r in rows] for rows in sets]
    assert retrieve_training_set(data[0], services[0], tmp_path / "again").corrected == 0
    assert not list(store_dir.glob("*.db"))
