import shutil
import subprocess
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest
import yaml

from components.deployment import check as subject
from components.deployment.check import check_deployment
from components.deployment.local import model_process
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import predictions_schema
from components.shared.records.text import model_text
from tests.shared.kubernetes.test_shared_folder import write_model

REVIEWS = [
    (None, "lovely dress, fits very good"),
    ("Awful!", "the fabric is itchy and i returned it " * 9),
    ("okay", 'a "quoted" <b>top</b> \U0001f600'),
]


def write_predictions(path, labels, chances):
    rows = [
        {
            "review_id": f"r{position}",
            "title": REVIEWS[position][0],
            "review_body": REVIEWS[position][1],
            "sentiment": 0,
            "predicted": SENTIMENTS.values[SENTIMENTS.names.index(label)],
            "label": label,
            **{f"p_{name}": float(p) for name, p in zip(SENTIMENTS.names, chance, strict=True)},
        }
        for position, (label, chance) in enumerate(zip(labels, chances, strict=True))
    ]
    write_parquet(path, pa.Table.from_pylist(rows, schema=predictions_schema()))
    return path


@pytest.fixture
def checked(model_folder, tmp_path):
    """The check of a folder that no server could load, unless told otherwise."""
    arguments = {
        "model_folder": model_folder,
        "predictions": tmp_path / "predictions.parquet",
        "check": tmp_path / "check.json",
        "manifest": tmp_path / "service.yaml",
        "model_name": "review-sentiment",
        "version": "3",
    }
    write_predictions(tmp_path / "predictions.parquet", ["neutral"] * 3, [[0.2, 0.5, 0.3]] * 3)
    return lambda **changes: check_deployment(**arguments | changes)


@pytest.fixture(scope="module")
def served(tiny_bert, tmp_path_factory):
    """A model folder that works, and what evaluation would have predicted with it."""
    from components.serving.model.predictor import Predictor

    folder = tmp_path_factory.mktemp("served")
    write_model(model := folder / "model", max_tokens=32)
    shutil.copytree(tiny_bert, model, dirs_exist_ok=True)
    said = Predictor(model).predict([model_text(*review) for review in REVIEWS])
    predictions = write_predictions(folder / "p.parquet", said.labels, said.probabilities)
    return {"model_folder": model, "predictions": predictions}


def recorded(monkeypatch, command_of=lambda command: command):
    """The processes that are started from now on, each by what is made of its command."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__(command_of(command), **options)
            started.append(self)

    replaced = SimpleNamespace(**vars(subprocess) | {"Popen": Recorded})
    monkeypatch.setattr(model_process, "subprocess", replaced)
    return started


@pytest.fixture
def children(monkeypatch):
    """The processes that the check starts."""
    return recorded(monkeypatch)


@pytest.mark.slow
def test_a_real_server_answers_as_evaluated(checked, served, children, tmp_path):
    findings = checked(**served)
    assert findings["reviews_asked"] == findings["labels_equal"] == 3
    assert findings["max_probability_difference"] < 1e-5
    assert 0 < findings["latency_ms"]["p50"] <= findings["latency_ms"]["p95"]
    assert read_json(tmp_path / "check.json") == findings
    service = yaml.safe_load((tmp_path / "service.yaml").read_text())
    assert service["kind"] == "InferenceService"
    assert children[0].poll() is not None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('broken'); raise SystemExit(3)", "ended with code 3 before it was ready: broken"),
        ("import time; time.sleep(600)", "not ready within 1 s: "),
    ],
)
def test_a_server_that_never_gets_ready_is_ended_and_reported(
    checked, monkeypatch, tmp_path, code, words
):
    started = recorded(monkeypatch, lambda command: [sys.executable, "-c", code, *command[3:]])
    with pytest.raises(UserError, match=words):
        checked(options=subject.CheckOptions(1 if "time" in code else 60))
    assert [process.poll() is None for process in started] == [False]
    assert not {"check.json", "service.yaml"} & {path.name for path in tmp_path.iterdir()}


def test_bad_input_is_refused_before_a_server_starts(checked, children, tmp_path):
    with pytest.raises(UserError, match="cannot name a service"):
        checked(model_name="Not A Name")
    with pytest.raises(UserError, match="not a whole model folder"):
        checked(model_folder=tmp_path / "nothing")
    write_parquet(tmp_path / "none.parquet", predictions_schema().empty_table())
    with pytest.raises(UserError, match="holds no rows"):
        checked(predictions=tmp_path / "none.parquet")
    assert children == []


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_the_sample_is_spread_over_all_rows(tmp_path, size):
    predictions = write_predictions(tmp_path / "p", ["neutral"] * 3, [[0.2, 0.5, 0.3]] * 3)
    names = [row["review_id"] for row in subject._sample(predictions, size)]
    assert len(names) == min(size, 3)
    assert names[0] == "r0"
    assert size == 1 or names[-1] == "r2"


ROW = {"review_id": "r1", "label": "neutral"}
ROW |= {"p_negative": 0.2, "p_neutral": 0.5, "p_positive": 0.3}
CLOSE = subject._Answer("neutral", [0.20001, 0.49999, 0.3], "3")


def test_where_torch_serves_no_label_version_or_probability_may_differ():
    equal, largest = subject._compared([ROW], [CLOSE], "3", 1e-4, 1.0)
    assert (equal, largest) == (1, pytest.approx(1e-5))
    for wrong in (
        CLOSE._replace(label="positive"),
        CLOSE._replace(probabilities=[0.21, 0.49, 0.3]),
        CLOSE._replace(probabilities=[float("nan"), 0.5, 0.3]),
        CLOSE._replace(version="2"),
    ):
        with pytest.raises(UserError, match=r"r1 is served as|serves version"):
            subject._compared([ROW], [wrong], "3", 1e-4, 1.0)


def test_another_engine_may_give_a_few_other_labels_and_differ_a_little():
    rounded = CLOSE._replace(probabilities=[0.25, 0.45, 0.3])
    other = CLOSE._replace(label="positive")
    answers = [rounded] * 198 + [other] * 2
    equal, largest = subject._compared([ROW] * 200, answers, "3", 0.06, 0.985)
    assert (equal, largest) == (198, pytest.approx(0.05))
    more = [*answers[4:], *[other] * 2, *[CLOSE] * 2]
    with pytest.raises(UserError, match=r"196 of 200 labels equal.*r1 is served as positive"):
        subject._compared([ROW] * 200, more, "3", 0.06, 0.985)
    with pytest.raises(UserError, match=r"up to 0\.0500, allowed: 0\.04\): r1 .*0\.2500, 0\.4500"):
        subject._compared([ROW] * 200, answers, "3", 0.04, 0.985)


def test_the_bound_is_the_engines_or_the_one_that_is_asked_for():
    bounds = {"torch": 1e-4, "openvino-int8-bf16": 0.4, "openvino-bf16": 0.06}
    assert {engine: subject.CheckOptions().tolerance(engine) for engine in bounds} == bounds
    assert subject.CheckOptions(max_probability_difference=0.1).tolerance("openvino-int8") == 0.1
