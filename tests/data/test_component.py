import pyarrow.parquet as pq
from kfp.dsl import Metrics

from components.data.component import ingest_reviews, prepare_reviews
from components.shared.machine.files import read_json
from components.shared.records.reviews import PREPARED_SCHEMA


def test_ingest_and_prepare_hand_over_by_artifacts(tmp_path):
    def artifacts(*names):
        return {name: Metrics(uri=str(tmp_path / name)) for name in names}

    made = artifacts("reviews", "quarantine", "ingest_summary", "metrics")
    outputs = ingest_reviews.python_func(**made)
    summary = read_json(tmp_path / "ingest_summary")
    assert outputs == (summary["fingerprint"], summary["rows_kept"])
    assert outputs._fields == ("data_fingerprint", "rows")
    assert made["metrics"].metadata["rows_in"] == 1_500
    assert made["reviews"].metadata["data_fingerprint"] == summary["fingerprint"]
    done = artifacts("prepared", "prepare_summary", "metrics")
    prepare_reviews.python_func(reviews=made["reviews"], balance="undersample", **done)
    assert pq.read_schema(tmp_path / "prepared").equals(PREPARED_SCHEMA)
    assert done["metrics"].metadata["majority_rate"] > 0.6
    assert read_json(tmp_path / "prepare_summary")["options"]["balance"] == "undersample"
