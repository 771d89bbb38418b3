import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from components.features.retrieve import retrieve_training_set
from components.features.views import files_of
from components.shared.machine.feature_store import open_store
from components.shared.machine.online_features import online_features

REGISTER = """
from components.shared.machine.feature_store import apply_objects, data_dir, open_store
from feature_repo.definitions import feature_objects
store = open_store()
for _ in range(6):
    apply_objects(store, feature_objects(data_dir()))
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
    assert len({*services}) == 1
    store = open_store()
    assert len(store.list_feature_views()) == 3
    for view in store.list_feature_views():
        assert sum(pq.read_metadata(file).num_rows for file in files_of(view.name)) == 600
    for number, (prepared, service) in enumerate(zip(data, services, strict=True)):
        written = tmp_path / f"set{number}.parquet"
        assert retrieve_training_set(prepared, service, written).rows == 300
        known = {row["review_id"]: row["sentiment"] for row in pq.read_table(prepared).to_pylist()}
        found = pq.read_table(written).to_pylist()
        assert {row["review_id"]: row["sentiment"] for row in found} == known
    assert None not in online_features([f"r{row:05d}" for row in range(300)], services[0], store)


def test_registering_needs_no_lock(make_prepared, tiny_bert, tmp_path, store_dir):
    """Feast's own command line and other machines do not know of our lock."""
    publish_at_once([make_prepared()], tiny_bert, tmp_path)
    names = {view.name for view in open_store().list_feature_views()}
    (store_dir / "registry.db").unlink()
    processes = [
        subprocess.Popen([sys.executable, "-c", REGISTER], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    assert {view.name for view in open_store().list_feature_views()} == names


@pytest.mark.parametrize("after", ["review_text", "review_tokens*", "registry.db", "online.db"])
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
