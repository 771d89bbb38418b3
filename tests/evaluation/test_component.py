import json

import pytest
from kfp.dsl import Artifact, ClassificationMetrics, Metrics

from components.evaluation.component import evaluate_classifier
from components.shared.machine.files import read_json


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
