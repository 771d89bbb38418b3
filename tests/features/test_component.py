"""The KFP steps: their interface, and both of them run for real by kfp.local."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.features.component import build_features, retrieve_training_set


class FakeArtifact:
    """What the body of a component uses of an artifact."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.metadata: dict[str, Any] = {}

    def log_metric(self, name: str, value: float) -> None:
        self.metadata[name] = value


def test_the_steps_hand_over_the_feature_service(
    store_dir: Path, make_prepared: Callable[..., Path], tiny_bert: Path, tmp_path: Path
) -> None:
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


@pytest.mark.parametrize(
    ("step", "inputs", "outputs"),
    [
        (
            build_features,
            {"prepared", "base_model", "max_tokens", "data_fingerprint"},
            {"features", "features_summary", "metrics", "feature_service"},
        ),
        (retrieve_training_set, {"prepared", "feature_service"}, {"training_set", "metrics"}),
    ],
)
def test_the_interface_is_as_the_pipeline_wires_it(
    step: Any, inputs: set[str], outputs: set[str]
) -> None:
    assert set(step.component_spec.inputs) == inputs
    assert set(step.component_spec.outputs) == outputs
