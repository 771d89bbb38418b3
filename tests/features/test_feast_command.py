import subprocess
import sys
from pathlib import Path

import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.feature_store import open_store

REPOSITORY = Path(__file__).parents[2] / "feature_repo"


@pytest.mark.slow
def test_feast_apply_preserves_published_versions(store_dir, build, make_prepared, tmp_path):
    data = [make_prepared(seed=seed) for seed in (1, 2)]
    services = [build(prepared).feature_service for prepared in data]

    def feast(*words):
        command = [Path(sys.executable).with_name("feast"), *words]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    feast("apply")
    listed = feast("feature-services", "list")
    assert all(service in listed for service in services)
    assert open_store().list_feature_views()[0].materialization_intervals
    for prepared, service in zip(data, services, strict=True):
        retrieve_training_set(prepared, service, tmp_path / "set.parquet")
