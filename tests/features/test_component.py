"""The KFP steps: their interface, and both of them run for real by kfp.local."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.features.component import build_features, retrieve_training_set


class FakeArtifact:
    """What the body of a component uses of an artifact."""

    def __init__(self, path):
        self.path = str(path)
        self.metadata: dict[str, Any] = {}

    def log_metric(self, name, value):
        self.metadata[name] = value


def test_the_steps_hand_over_the_feature_service(store_dir, make_prepared, tiny_bert, tmp_path):
    prepared = FakeArtifact(make_prepared(rows=30))
    features, summary, metrics = (FakeArtifact(tmp_path / "out" / name) for name in "fsm")
    outputs = build_features.python_func(
        prepared=prepared,
        base_model=str(tiny_bert),
        max_tokens=16,
        data_fingerprint="d1",
        features=features,
        features_summary=summary,
        metrics=metrics,
    )
    assert outputs.feature_service == json.loads(Path(summary.path).read_text())["feature_service"]
    assert features.metadata["feature_service"] == outputs.feature_service
    assert features.metadata["data_fingerprint"] == "d1"
    assert metrics.metadata["rows"] == 30
    training_set, more = FakeArtifact(tmp_path / "out" / "t"), FakeArtifact(tmp_path / "out" / "n")
    retrieve_training_set.python_func(
        prepared=prepared,
        feature_service=outputs.feature_service,
        training_set=training_set,
        metrics=more,
    )
    assert pq.ParquetFile(training_set.path).metadata.num_rows == 30
    assert len(training_set.metadata["sha256"]) == 64
    assert more.metadata["rows_train"] + more.metadata["rows_validation"] == 20
