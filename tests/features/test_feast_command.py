import subprocess
import sys
from pathlib import Path

import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.feature_store import open_store
from components.shared.machine.online_features import online_features

REPOSITORY = Path(__file__).parents[2] / "feature_repo"


@pytest.mark.slow
def test_feast_apply_registers_what_is_in_the_folders(store_dir, build, make_prepared, tmp_path):
    prepared = make_prepared()
    service = build(prepared).feature_service

    def feast(*words):
        command = [Path(sys.executable).with_name("feast"), *words]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    done = feast("apply")
    assert done.returncode == 0, done.stderr
    assert service in feast("feature-services", "list").stdout
    names = {"review_text", "review_labels", service.replace("sentiment_training", "review_tokens")}
    assert {view.name for view in open_store().list_feature_views()} == names
    retrieve_training_set(prepared, "sentiment_training", tmp_path / "set.parquet")
    assert online_features(["r00000"], service)[0]["n_tokens"] > 0
    assert build(prepared).reused
    # What a former release published is not taken for something that nobody defines any more.
    former = store_dir / "data" / "0123456789ab" / "version.json"
    former.parent.mkdir()
    former.write_text("{}")
    done = feast("apply")
    assert done.returncode != 0
    assert "migrate them first" in done.stdout + done.stderr
    assert service in feast("feature-services", "list").stdout
