"""A sparse model and a network side by side: judged, exported, registered, served alike."""

import math

import numpy as np
import pytest

from components.automl.candidates import all_candidates
from components.automl.task import read_task
from components.deployment.check import check_deployment
from components.evaluation.evaluate import evaluate
from components.evaluation.gate import GateOptions
from components.registry import versions as registry
from components.registry.registration import register
from components.serving.export import export_for_serving
from components.shared.machine.files import read_json
from components.shared.records.model_folder import check_model_folder
from tests.evaluation.conftest import review_rows, write_model, write_run
from tests.registry.conftest import NAME, empty_database, mlflow_file  # noqa: F401

GATE = GateOptions(accuracy_threshold=0.5, macro_f1_threshold=0.3)


@pytest.fixture(scope="module")
def both(tmp_path_factory, tiny_bert):
    """A network, a sparse model of each kind, and the splits that they share."""
    folder = tmp_path_factory.mktemp("both")
    training_set, prepared = write_run(folder, review_rows(400), tiny_bert)
    task = read_task(prepared, training_set, "", {"data_fingerprint": "data-1"})
    for name in ("linear", "fasttext"):
        candidate = all_candidates()[name]
        candidate.fit(task, candidate.first, 1, math.inf, folder / name)
    write_model(folder / "network", tiny_bert)
    return folder, training_set, prepared


def judged(both, model, champion, tmp_path):
    folder, training_set, prepared = both
    paths = (folder / model, training_set, prepared, folder / champion)
    outputs = (tmp_path / f"predictions-{model}", tmp_path / f"summary-{model}")
    return evaluate(*paths, *outputs, GATE, progress=False), *outputs


@pytest.mark.parametrize("sparse", ["linear", "fasttext"])
def test_each_is_judged_against_the_other(both, sparse, tmp_path):
    summary, _, _ = judged(both, sparse, "network", tmp_path)
    assert summary["macro_f1"] > 0.8
    assert summary["champion"]["verdict"] == "better"
    assert summary["champion"]["reads_alike"] is False
    back, _, _ = judged(both, "network", sparse, tmp_path)
    assert back["champion"]["verdict"] == "worse"
    gains = (one["champion"]["macro_f1_difference"]["value"] for one in (summary, back))
    assert sum(gains) == pytest.approx(0)
    alike, _, _ = judged(both, sparse, "fasttext" if sparse == "linear" else "linear", tmp_path)
    assert alike["champion"]["reads_alike"] is True


@pytest.mark.parametrize("sparse", ["linear", "fasttext"])
def test_it_is_registered_and_served_by_what_serves_networks(
    both,
    sparse,
    mlflow_file,  # noqa: F811
    tmp_path,
):
    import mlflow
    import pandas as pd
    import pyarrow.parquet as pq

    folder, training_set, _ = both
    _, predictions, summary = judged(both, sparse, "none", tmp_path)
    assert export_for_serving(folder / sparse, training_set, tmp_path / "exported") == []
    done = register(
        *(tmp_path / "exported", {"evaluation": summary}, predictions, tmp_path / "registration"),
        **{"model_name": NAME, "approval": "auto", "registered": tmp_path / "registered"},
        facts={"pipeline_run": "run-1", "data_fingerprint": "data-1"},
    )
    check_model_folder(tmp_path / "registered", done.folder_digest)
    registry.promote(NAME, done.version)
    table = pq.read_table(predictions)

    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert set(model.metadata.flavors) == {"python_function"}
    answers = model.predict(table.select(["title", "review_body"]).to_pandas())
    assert answers["label"].tolist() == table["label"].to_pylist()
    names = ("p_negative", "p_neutral", "p_positive")
    expected = np.stack([table[name].to_numpy() for name in names], axis=1)
    assert np.abs(answers[list(names)].to_numpy() - expected).max() < 1e-6
    assert isinstance(answers, pd.DataFrame)

    checked = check_deployment(
        *(tmp_path / "registered", predictions, tmp_path / "check", tmp_path / "manifest"),
        **{"model_name": NAME, "version": done.version},
    )
    assert (checked["engine"], checked["tolerance"]) == ("sparse", 1e-4)
    assert checked["labels_equal"] == checked["reviews_asked"] > 100
    card = (tmp_path / "registered" / "README.md").read_text()
    kind = read_json(folder / sparse / "features.json")["kind"]
    assert f"A linear model on `{kind}` features" in card
    assert "transformers" not in card
