import pyarrow.parquet as pq
from kfp.dsl import Metrics

from components.features.component import (
    add_corrections,
    build_features,
    retrieve_training_set,
)
from components.shared.machine.files import read_json


def test_the_steps_hand_over_the_feature_service(store_dir, make_prepared, tiny_bert, tmp_path):
    features, summary, metrics, training_set, more = (
        Metrics(uri=str(tmp_path / "out" / name)) for name in "fsmtn"
    )
    prepared = Metrics(uri=str(make_prepared(rows=30)))
    outputs = build_features.python_func(
        prepared=prepared,
        base_model=str(tiny_bert),
        max_tokens=16,
        data_fingerprint="d1",
        features=features,
        features_summary=summary,
        metrics=metrics,
    )
    assert outputs.feature_service == read_json(summary.path)["feature_service"]
    assert features.metadata["feature_service"] == outputs.feature_service
    assert features.metadata["data_fingerprint"] == "d1"
    assert metrics.metadata["rows"] == 30
    retrieve_training_set.python_func(
        prepared=prepared,
        feature_service=outputs.feature_service,
        training_set=training_set,
        metrics=more,
        as_of="2024-03-01",
    )
    assert pq.ParquetFile(training_set.path).metadata.num_rows == 30
    assert len(training_set.metadata["sha256"]) == 64
    assert training_set.metadata["as_of"] == "2024-03-01T00:00:00+00:00"
    assert (more.metadata["corrected"], more.metadata["left_out"]) == (0, 0)
    assert more.metadata["rows_train"] + more.metadata["rows_validation"] == 20


def test_without_resolved_labels_nothing_is_corrected(store_dir, tmp_path):
    summary, metrics = (Metrics(uri=str(tmp_path / name)) for name in "sm")
    outputs = add_corrections.python_func(resolved="", corrections_summary=summary, metrics=metrics)
    assert outputs.added == metrics.metadata["resolved"] == 0
    assert read_json(summary.path)["feature_service"] == ""
    assert not store_dir.exists()
