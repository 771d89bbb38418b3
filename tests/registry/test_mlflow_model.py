"""MLflow's own tools load a registered version, by the code that travels with it."""

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.registry import versions as registry
from components.registry.mlflow_model import EXAMPLE
from components.serving.model.predictor import Predictor
from components.shared.machine.files import read_json, write_json
from components.shared.records import portable_model
from components.shared.records.text import model_text
from tests.evaluation.conftest import write_model
from tests.registry.conftest import NAME

REVIEWS = pd.DataFrame(
    {
        "title": ["Lovely", None, "Awful!", np.nan],
        "review_body": ["fits very good", "okay", "itchy and returned " * 40, ""],
    },
    index=[7, 8, 9, 10],
)


@pytest.fixture
def model_folder(tiny_bert, tmp_path):
    """A model that computes, and decides by its offsets against the most probable class."""
    folder = write_model(tmp_path / "trained", tiny_bert)
    write_json(folder / "calibration.json", {"temperature": 1.3, "decision_offsets": [0, 9, 0]})
    labels = dict(enumerate(("negative", "neutral", "positive")))
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "id2label": labels})
    return folder


@pytest.fixture
def champion(mlflow_file, register_version):
    register_version()
    registry.promote(NAME, "1")
    return f"models:/{NAME}@champion"


def test_a_frame_of_reviews_is_answered_as_by_our_server(champion, model_folder):
    import mlflow

    model = mlflow.pyfunc.load_model(champion)
    answers = model.predict(REVIEWS)
    expected = Predictor(model_folder, "torch").predict(
        [
            model_text(title if isinstance(title, str) else "", body)
            for title, body in REVIEWS.values
        ]
    )
    assert answers["label"].tolist() == expected.labels == ["neutral"] * 4
    assert expected.probabilities.argmax(axis=1).tolist() == [0] * 4
    assert list(answers.index) == [7, 8, 9, 10]
    found = answers[["p_negative", "p_neutral", "p_positive"]]
    assert np.abs(found - expected.probabilities).max(axis=None) < 1e-6
    without_title = model.predict(REVIEWS[["review_body"]])
    assert np.abs(without_title["p_negative"][8] - answers["p_negative"][8]) < 1e-6
    signature = model.metadata.signature
    assert [(one.name, one.required) for one in signature.inputs.inputs] == [
        ("title", False),
        ("review_body", True),
    ]
    assert signature.outputs.input_names() == list(answers.columns)
    with pytest.raises(mlflow.exceptions.MlflowException, match="review_body"):
        model.predict(REVIEWS[["title"]])


def test_the_pipeline_of_transformers_is_loaded_too(champion):
    import mlflow

    pipeline = mlflow.transformers.load_model(champion)
    answer = pipeline(model_text(**EXAMPLE), truncation=True)
    assert answer[0]["label"] in ("negative", "neutral", "positive")


def test_the_code_that_travels_needs_nothing_of_this_project(champion, tmp_path):
    import mlflow

    metadata = mlflow.pyfunc.load_model(champion).metadata
    assert metadata.metadata == {"decision_offsets": [0.0, 9.0, 0.0]}
    loaded = sys.modules[metadata.flavors["python_function"]["loader_module"]]
    files = sorted(Path(loaded.__file__).parent.glob("*.py"))
    assert [file.name for file in files] == sorted(
        ["__init__.py", *(f"{name}.py" for name in portable_model.TRAVELS_WITH)]
    )
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            assert "components" not in str(getattr(node, "module", "")), file
    registry.fetch_version(NAME, "1", tmp_path / "back", tmp_path / "table")
    suffixes = {path.suffix for path in (tmp_path / "back").rglob("*") if path.is_file()}
    assert suffixes <= {"", ".json", ".md", ".py", ".safetensors", ".sha256", ".txt", ".yaml"}
