import pyarrow.parquet as pq
import pytest
from kfp.dsl import HTML, Metrics

from components.data.catalogue import data_sets
from components.data.component import (
    browse_reviews,
    explore_reviews,
    ingest_reviews,
    prepare_reviews,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.records.reviews import PREPARED_SCHEMA
from tests.report.reading import Page

ARTIFACTS = ("reviews", "quarantine", "ingest_summary", "metrics")


def test_ingest_registers_its_rows_where_the_environment_names_a_catalogue(catalogue, tmp_path):
    made = {name: Metrics(uri=str(tmp_path / name)) for name in ARTIFACTS}
    outputs = ingest_reviews.python_func(**made)
    (data,) = data_sets()
    assert (data.fingerprint, data.rows) == outputs
    assert data.source == "sample"
    assert made["reviews"].metadata["snapshot"] == str(data.snapshot_id)


def test_ingest_and_prepare_hand_over_by_artifacts(tmp_path):
    def artifacts(*names):
        return {name: Metrics(uri=str(tmp_path / name)) for name in names}

    made = artifacts(*ARTIFACTS)
    outputs = ingest_reviews.python_func(**made)
    summary = read_json(tmp_path / "ingest_summary")
    assert outputs == (summary["fingerprint"], summary["rows_kept"])
    assert outputs._fields == ("data_fingerprint", "rows")
    assert made["metrics"].metadata["rows_in"] == 1_500
    assert made["reviews"].metadata["data_fingerprint"] == summary["fingerprint"]
    done = artifacts("prepared", "prepare_summary", "disputes", "metrics")
    prepare_reviews.python_func(reviews=made["reviews"], balance="undersample", **done)
    assert pq.read_schema(tmp_path / "prepared").equals(PREPARED_SCHEMA)
    assert done["metrics"].metadata["majority_rate"] > 0.6
    assert read_json(tmp_path / "prepare_summary")["options"]["balance"] == "undersample"


def test_unrated_files_may_stand_beside_rated_ones_where_labels_are_weak(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "new.csv").write_text("Review Text\nNice\n")
    (folder / "rated.csv").write_text("Review Text,Rating\nGood,5\nNew,\n")
    names = ("reviews", "quarantine", "ingest_summary", "metrics")
    made = {name: Metrics(uri=str(tmp_path / name)) for name in names}
    with pytest.raises(UserError, match=r"new\.csv has no column 'Rating'"):
        ingest_reviews.python_func(**made, data_uri=str(folder))
    ingest_reviews.python_func(**made, data_uri=str(folder), weak_labels=True)
    rows = pq.ParquetFile(tmp_path / "reviews").read().to_pylist()
    assert {row["review_body"]: row["rating"] for row in rows} == {
        **{"Nice": None, "Good": 5, "New": None}
    }


def test_explore_and_browse_write_their_pages(tmp_path, tiny_bert):
    made = {name: Metrics(uri=str(tmp_path / name)) for name in ("reviews", "prepared", "metrics")}
    unused = [Metrics(uri=str(tmp_path / f"unused-{number}")) for number in range(5)]
    ingest_reviews.python_func(made["reviews"], *unused[:3])
    prepare_reviews.python_func(made["reviews"], made["prepared"], *unused[2:])
    pages = {name: HTML(uri=str(tmp_path / name)) for name in ("exploration_page", "table_page")}
    explore_reviews.python_func(
        prepared=made["prepared"],
        exploration_summary=HTML(uri=str(tmp_path / "exploration_summary")),
        exploration_page=pages["exploration_page"],
        metrics=made["metrics"],
        base_model=str(tiny_bert),
    )
    found = read_json(tmp_path / "exploration_summary")
    told = made["metrics"].metadata
    assert told["rows"] == sum(found["profile"]["sentiments"].values())
    assert told["texts_in_two_splits"] == 0
    assert told["mean_tokens"] == found["tokens"]["mean"] > told["mean_words"]
    Page((tmp_path / "exploration_page").read_text()).tells("% positive", "Words that tell")
    browse_reviews.python_func(prepared=made["prepared"], table_page=pages["table_page"])
    assert pages["table_page"].metadata["rows"] == told["rows"]
    assert f"{told['rows']:,.0f} prepared reviews" in (tmp_path / "table_page").read_text()
