"""Feast's own command line, as a user who looks into the store would call it."""

import os
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
    feast = [str(Path(sys.executable).with_name("feast"))]
    applied = subprocess.run(
        [*feast, "apply"], cwd=REPOSITORY, env=os.environ, capture_output=True, text=True
    )
    assert applied.returncode == 0, applied.stderr
    listed = subprocess.run(
        [*feast, "feature-services", "list"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert all(service in listed.stdout for service in services)
    assert open_store().list_feature_views()[0].materialization_intervals
    for prepared, service in zip(data, services, strict=True):
        retrieve_training_set(prepared, service, tmp_path / "set.parquet")
