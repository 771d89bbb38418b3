import json

import numpy as np
import pytest

from components.data.component import ingest_reviews, prepare_reviews
from components.features.component import build_features, retrieve_training_set
from components.labelling.component import label_weakly
from components.training.component import fine_tune_classifier
from pipelines.running.environment import local_environment
from pipelines.running.local import run_locally
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place

pytestmark = pytest.mark.slow


@pipeline(name="weak", description="From few ratings to a model.")
def weak_pipeline(data_uri: str, base_model: str, weak_labels: bool = False) -> None:
    ingested = place(ingest_reviews(data_uri=data_uri))
    fingerprint = ingested.outputs["data_fingerprint"]
    labelled = place(label_weakly(reviews=ingested.outputs["reviews"], weak_labels=weak_labels))
    prepared = place(prepare_reviews(reviews=labelled.outputs["labelled"])).outputs["prepared"]
    features = place(
        build_features(
            prepared=prepared, base_model=base_model, max_tokens=48, data_fingerprint=fingerprint
        )
    )
    service = features.outputs["feature_service"]
    retrieved = place(retrieve_training_set(prepared=prepared, feature_service=service))
    place(
        fine_tune_classifier(
            training_set=retrieved.outputs["training_set"],
            base_model=base_model,
            hyperparameters={"epochs": 1, "min_steps": 0},
            data_fingerprint=fingerprint,
            feature_service=service,
            labels_as_of=retrieved.outputs["labels_as_of"],
            max_tokens=48,
            nodes=1,
            gpus_per_node=0,
            model_name="weak",
        )
    )


def test_a_run_with_few_ratings_trains_with_weak_labels(tiny_bert, tmp_path, monkeypatch):
    import pandas as pd

    from components.data.sources import SAMPLE

    for name in local_environment(tmp_path):
        monkeypatch.setenv(name, "")
    reviews = pd.read_csv(SAMPLE, dtype=str, keep_default_na=False)
    reviews.loc[np.random.default_rng(0).random(len(reviews)) < 0.7, "Rating"] = ""
    reviews.to_csv(tmp_path / "reviews.csv", index=False)
    given = {"data_uri": str(tmp_path / "reviews.csv"), "base_model": str(tiny_bert)}
    shares = {}
    for weak_labels in (True, False):
        run = run_locally(
            weak_pipeline,
            given | {"weak_labels": weak_labels},
            runs=tmp_path / "runs",
            state=tmp_path / "state",
            quiet=True,
        )
        model = run.artifact("fine-tune-classifier", "model")
        summary = json.loads(run.artifact("prepare-reviews", "prepare_summary").read_text())
        facts = json.loads((model / "training.json").read_text())
        assert facts["weak_share"] == pytest.approx(summary["weak"] / facts["rows"]["train"])
        told = json.loads(run.artifact("label-weakly", "weak_labels_summary").read_text())
        assert told["weak"] == summary["weak"]
        shares[weak_labels] = facts["weak_share"], summary["splits"]["test"]
    assert shares[True][0] > 0.2
    assert shares[False][0] == 0.0
    assert shares[True][1] == shares[False][1]
