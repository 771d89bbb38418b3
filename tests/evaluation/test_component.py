import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from kfp.dsl import Artifact, ClassificationMetrics, Metrics

from components.evaluation.component import evaluate_classifier, explain_model, measure_bias
from components.shared.machine.files import read_json, read_parquet, write_parquet
from components.shared.records.reviews import PREPARED_SCHEMA, predictions_schema


@pytest.fixture(scope="module")
def step(run_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("step")
    (folder / "champion").mkdir()
    inputs = dict(zip(("model", "training_set", "prepared"), run_artifacts, strict=True))
    names = ("metrics", "confusion_matrix", "roc_curve", "predictions", "evaluation_summary")
    places = inputs | {name: folder / name for name in ("champion", *names)}
    kinds = {"metrics": Metrics, "confusion_matrix": ClassificationMetrics}
    kinds |= {"roc_curve": ClassificationMetrics}
    artifacts = {name: kinds.get(name, Artifact)(uri=str(path)) for name, path in places.items()}
    outputs = evaluate_classifier.python_func(
        **artifacts, accuracy_threshold=0.3, macro_f1_threshold=0.1, champion_margin=0.01
    )
    return outputs, artifacts, read_json(folder / "evaluation_summary")


def test_outputs_are_those_of_the_summary(step):
    outputs, _, summary = step
    assert outputs.accuracy == summary["scores"]["accuracy"]["value"]
    assert outputs.macro_f1 == summary["scores"]["macro_f1"]["value"]
    assert (outputs.champion_verdict, outputs.not_worse_than_champion) == ("no champion", "yes")


def test_dashboard_metrics_are_json_without_nan_and_rows_are_the_truth(step):
    _, artifacts, summary = step
    for name in ("metrics", "confusion_matrix", "roc_curve"):
        json.dumps(artifacts[name].metadata, allow_nan=False)
    matrix = artifacts["confusion_matrix"].metadata["confusionMatrix"]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == summary["classes"]
    supports = [entry["support"] for entry in summary["per_class"]]
    assert [sum(row["row"]) for row in matrix["rows"]] == supports


def test_roc_curve_is_that_of_the_negative_class(step):
    _, artifacts, summary = step
    points = artifacts["roc_curve"].metadata["confidenceMetrics"]
    assert [point["recall"] for point in points] == summary["roc"][0]["true_positive_rate"]
    assert artifacts["roc_curve"].metadata["curve"] == "negative against the rest"


def test_the_bias_step_writes_summary_page_and_whether_the_limit_is_kept(tmp_path, run_artifacts):
    _, _, prepared = run_artifacts
    rows = read_parquet(prepared, PREPARED_SCHEMA).filter(pc.field("split") == "test")
    chances = pa.array([1 / 3] * len(rows))
    table = rows.select(["review_id", "title", "review_body", "product_category", "sentiment"])
    for name in ("predicted", "label", "p_negative", "p_neutral", "p_positive"):
        filled = {"predicted": rows["sentiment"], "label": rows["review_id"]}.get(name, chances)
        table = table.append_column(name, filled)
    write_parquet(tmp_path / "predictions", table.cast(predictions_schema()))
    names = ("predictions", "bias_summary", "bias_page", "metrics")
    places = {name: Artifact(uri=str(tmp_path / name)) for name in names}
    metrics = places["metrics"] = Metrics(uri=str(tmp_path / "metrics"))
    outputs = measure_bias.python_func(
        prepared=Artifact(uri=str(prepared)),
        **places,
        facets="product_category division",
        bias_gate="AD:product_category<=0.5",
    )
    assert outputs.within_bias_limit == "yes"
    assert read_json(tmp_path / "bias_summary")["gate"]["within"] is True
    assert "product category" in (tmp_path / "bias_page").read_text()
    assert metrics.metadata["groups_that_differ_product_category"] == 0
    json.dumps(metrics.metadata, allow_nan=False)


def test_explaining_writes_summary_page_and_metrics_and_tells_the_run(
    run_artifacts, tmp_path, monkeypatch
):
    logged = {}
    run = type("Run", (), {"log": lambda _, metrics: logged.update(metrics)})
    monkeypatch.setattr("components.shared.machine.tracked_run.run_of", lambda _: run())
    inputs = dict(zip(("model", "training_set", "prepared"), run_artifacts, strict=True))
    names = ("explanation_summary", "explanation_page")
    places = inputs | {name: tmp_path / name for name in names}
    artifacts = {name: Artifact(uri=str(path)) for name, path in places.items()}
    metrics = Metrics(uri=str(tmp_path / "metrics"))
    explain_model.python_func(**artifacts, metrics=metrics, explained_reviews=4)
    summary = read_json(tmp_path / "explanation_summary")
    assert metrics.metadata["explanation_deletion"] == summary["deletion"]["value"]
    assert metrics.metadata["explained_reviews"] == summary["explained"] == 4
    assert logged["explanation_deletion"] == summary["deletion"]["value"]
    json.dumps(metrics.metadata, allow_nan=False)
    assert "The proof" in (tmp_path / "explanation_page").read_text()
