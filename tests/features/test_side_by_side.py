"""Real processes that publish into one store at the same time, and one that is killed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.feature_store import apply_objects, open_store, versions_dir
from components.shared.machine.online_features import online_features
from feature_repo.definitions import feature_objects, read_version

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store_dir")]


def start(prepared, model, folder):
    return subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).with_name("publishing.py")),
            *(str(prepared), str(model), str(folder)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return out.splitlines()[-1]


def test_concurrent_runs_lose_nothing(make_prepared, tiny_bert, tmp_path):
    data = [make_prepared(rows=300, seed=seed) for seed in (1, 2, 2)]
    processes = [
        start(prepared, tiny_bert, tmp_path / f"run{number}")
        for number, prepared in enumerate(data)
    ]
    services = [finish(process) for process in processes]
    assert services[1] == services[2] != services[0]
    store = open_store()
    assert {service.name for service in store.list_feature_services()} == set(services)
    assert len(store.list_feature_views()) == 4
    for number, (prepared, service) in enumerate(zip(data, services, strict=True)):
        result = retrieve_training_set(prepared, service, tmp_path / f"set{number}.parquet")
        assert result.rows == 300
        assert None not in online_features([f"r{row:05d}" for row in range(300)], service, store)


def test_registering_needs_no_lock(make_prepared, tiny_bert, tmp_path):
    """Feast's own command line and other machines do not know of our lock."""
    first = finish(start(make_prepared(), tiny_bert, tmp_path / "run"))
    version = read_version(versions_dir() / first.removeprefix("sentiment_training_"))
    script = (
        "import dataclasses, sys; from pathlib import Path\n"
        "from components.shared.machine.feature_store import apply_objects, open_store\n"
        "from components.shared.machine.feature_store import versions_dir\n"
        "from feature_repo.definitions import feature_objects, read_version\n"
        f"version = read_version(versions_dir() / {version.version!r})\n"
        "store = open_store()\n"
        "for number in range(4):\n"
        "    other = dataclasses.replace(version, version=f'{sys.argv[1]}x{number}')\n"
        "    apply_objects(store, feature_objects(other))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, name], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    names = {view.name for view in open_store().list_feature_views()}
    wanted = {f"{name}x{number}" for name in ("a", "b", "c") for number in range(4)}
    assert names == {
        f"review_{kind}_{one}"
        for kind in ("labels", "tokens")
        for one in wanted | {version.version}
    }


@pytest.mark.parametrize("after", ["version.json", "registry.db", "online.db"])
def test_the_next_run_completes_a_killed_one(after, make_prepared, tiny_bert, tmp_path, store_dir):
    prepared = make_prepared(rows=3000)
    process = start(prepared, tiny_bert, tmp_path / "run")
    while process.poll() is None and not any(store_dir.rglob(after)):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    service = finish(start(prepared, tiny_bert, tmp_path / "run"))
    assert retrieve_training_set(prepared, service, tmp_path / "set.parquet").rows == 3000
    assert None not in online_features([f"r{row:05d}" for row in range(3000)], service)


def test_applying_twice_changes_nothing(make_prepared, tiny_bert, tmp_path):
    service = finish(start(make_prepared(), tiny_bert, tmp_path / "run"))
    version = read_version(versions_dir() / service.removeprefix("sentiment_training_"))
    store = open_store()
    before = store.get_feature_view(version.tokens_view).materialization_intervals
    assert before
    apply_objects(store, feature_objects(version))
    assert open_store().get_feature_view(version.tokens_view).materialization_intervals == before
