import subprocess
import sys
import time

import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.feature_store import open_store, versions_dir
from components.shared.machine.online_features import online_features
from feature_repo.definitions import read_version

REGISTER_FOUR = """
import dataclasses, sys
from components.shared.machine.feature_store import apply_objects, open_store, versions_dir
from feature_repo.definitions import feature_objects, read_version
version, store = read_version(versions_dir() / sys.argv[1]), open_store()
for number in range(4):
    other = dataclasses.replace(version, version=f"{sys.argv[2]}x{number}")
    apply_objects(store, feature_objects(other))
"""
PUBLISH = """
import pathlib, sys
from components.features.publish import build_features
prepared, model, folder = map(pathlib.Path, sys.argv[1:])
outputs = folder / "features.parquet", folder / "summary.json"
print(build_features(prepared, str(model), 16, prepared.name, *outputs).feature_service)
"""
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store_dir")]


def start(prepared, model, folder):
    command = [sys.executable, "-c", PUBLISH, *map(str, (prepared, model, folder))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return out.splitlines()[-1]


def publish_at_once(data, model, tmp_path):
    """One process for each prepared file, all at the same time; return the feature services."""
    numbered = enumerate(data)
    started = [start(prepared, model, tmp_path / f"run{number}") for number, prepared in numbered]
    return [finish(process) for process in started]


def test_concurrent_runs_lose_nothing(make_prepared, tiny_bert, tmp_path):
    data = [make_prepared(rows=300, seed=seed) for seed in (1, 2, 2)]
    services = publish_at_once(data, tiny_bert, tmp_path)
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
    (first,) = publish_at_once([make_prepared()], tiny_bert, tmp_path)
    version = read_version(versions_dir() / first.removeprefix("sentiment_training_"))
    command = [sys.executable, "-c", REGISTER_FOUR, version.version]
    processes = [
        subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "abc"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    versions = [version.version, *(f"{name}x{number}" for name in "abc" for number in range(4))]
    assert {view.name for view in open_store().list_feature_views()} == {
        f"review_{kind}_{one}" for kind in ("labels", "tokens") for one in versions
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
