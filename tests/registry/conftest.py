"""A model folder, its evaluation, and an MLflow of the test's own."""

import socket

import pyarrow as pa
import pytest

from components.registry.registration import register
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import predictions_schema

NAME = "review-sentiment"


def _model_folder(folder, weights=b"weights"):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    for name in ("tokenizer.json", "README.md"):
        (folder / name).write_text("{}")
    write_json(folder / "config.json", {"id2label": dict(enumerate(SENTIMENTS.names))})
    write_json(folder / "calibration.json", {"temperature": 1.0, "decision_offsets": [0, 0, 0]})
    facts = {"data_fingerprint": "data-1", "feature_service": "service-1"}
    training = {
        "options": {"learning_rate": 3e-5, "epochs": 2},
        "facts": facts | {"code_version": "abc123", "base_model": "minilm"},
        "max_tokens": 128,
        "class_prior": [0.1, 0.1, 0.8],
        "history": [{"step": 10, "loss": 0.9}, {"step": 20, "loss": 0.5, "macro_f1": 0.6}],
        "speed": {"samples_per_second": 50.0},
    }
    write_json(folder / "training.json", training)
    return folder


@pytest.fixture
def make_model_folder():
    return _model_folder


@pytest.fixture
def model_folder(tmp_path):
    return _model_folder(tmp_path / "trained")


@pytest.fixture
def evaluation_summary(tmp_path):
    summary = {"accuracy": 0.87, "macro_f1": 0.71, "slices": {"Tops & more": {"n": 12}}}
    write_json(tmp_path / "summary.json", summary)
    return tmp_path / "summary.json"


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "predictions.parquet"
    row = {"review_id": "r1", "review_body": "lovely", "sentiment": 1, "predicted": 1}
    row |= {"label": "positive", "p_negative": 0.1, "p_neutral": 0.2, "p_positive": 0.7}
    write_parquet(path, pa.Table.from_pylist([row], schema=predictions_schema()))
    return path


@pytest.fixture
def mlflow_file(tmp_path, monkeypatch, empty_database):
    database = tmp_path / "mlflow" / "mlflow.db"
    database.parent.mkdir()
    database.write_bytes(empty_database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    return database


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A migrated SQLite database: a second's work, done once."""
    from components.shared.machine.tracking import tracking_client

    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        tracking_client().search_experiments()
    return database.read_bytes()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def register_version(model_folder, evaluation_summary, predictions, tmp_path):
    def call(
        folder=model_folder,
        approval="auto",
        pipeline_run="run-1",
        name=NAME,
        summaries=None,
        **facts,
    ):
        return register(
            folder,
            {"evaluation": evaluation_summary, **(summaries or {})},
            predictions,
            tmp_path / "registration.json",
            model_name=name,
            approval=approval,
            facts={"pipeline_run": pipeline_run, **facts},
        )

    return call
