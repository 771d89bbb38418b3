"""The same reviews get the same answers from every consumer of a model folder.

With `-s` it prints consumer, labels equal, largest difference of a probability, reviews a second.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from components import data as sample
from components.registry.mlflow_model import write_mlflow_model
from components.serving.export import EXPORTED_ENGINES, FULL
from components.serving.model.predictor import Predictor
from components.shared.machine.files import read_json, write_json
from components.shared.machine.inference import load_model
from components.shared.records.engines import MIN_LABELS_EQUAL, probability_bound, read_engines
from components.shared.records.model_card import write_model_card
from components.shared.records.text import model_text
from tests.conftest import RATED

FP32 = 1e-3

Answers = Callable[[list[str]], np.ndarray]
"""Probabilities [n, classes] of n texts."""


def pipeline_of_transformers(folder, names) -> Answers:
    from transformers import pipeline

    classify = pipeline("text-classification", str(folder), truncation=True, top_k=None)

    def answers(texts):
        said = [{one["label"]: one["score"] for one in row} for row in classify(texts)]
        return np.array([[row[name] for name in names] for row in said])

    return answers


def pyfunc_of_mlflow(folder, names) -> Answers:
    import mlflow

    model = mlflow.pyfunc.load_model(str(folder))

    def answers(texts):
        frame = model.predict(pd.DataFrame({"title": None, "review_body": texts}).astype(object))
        return frame[[f"p_{name}" for name in names]].to_numpy()

    return answers


def one_by_one(folder, logits_of) -> Answers:
    """A network that gets ids and mask of one review at a time, tokenised by transformers."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def answers(texts):
        rows = []
        for text in texts:
            inputs = tokenizer(text, truncation=True, return_tensors="np")
            rows.append(logits_of(*(inputs[name] for name in ("input_ids", "attention_mask")))[0])
        exponents = np.exp(np.array(rows, dtype=np.float64))
        return exponents / exponents.sum(axis=1, keepdims=True)

    return answers


def openvino_network(folder, file, precision) -> Answers:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(folder / file, "CPU", options)
    return one_by_one(folder, lambda *inputs: compiled(list(inputs))[0])


def onnx_network(folder, path) -> Answers:
    runtime = pytest.importorskip("onnxruntime")
    import torch

    model = load_model(folder).cpu()
    model.config.return_dict = False
    names = ["input_ids", "attention_mask"]
    tokens = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (tokens, (tokens > 0).long()),
            path,
            dynamo=False,
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in names},
        )
    session = runtime.InferenceSession(path)
    return one_by_one(
        folder, lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    )


def our_server(folder, engine) -> Answers:
    predictor = Predictor(folder, engine)
    return lambda texts: np.concatenate([predictor.predict([one]).probabilities for one in texts])


def compared(folder, texts, tmp_path):
    """(consumer, share of equal labels, largest difference, its bound) of each, printed, too."""
    names = [*read_json(folder / "config.json")["id2label"].values()]
    consumers = {
        "transformers.pipeline": (pipeline_of_transformers(folder, names), FP32),
        "MLflow pyfunc": (pyfunc_of_mlflow(folder, names), FP32),
        "our server, torch": (our_server(folder, "torch"), FP32),
    }
    serves = {check.name for check in read_engines(folder) if check.may_serve}
    if (folder / FULL).exists():
        for name, file, precision in EXPORTED_ENGINES:
            bound = FP32 if name.endswith("fp32") else 2 * probability_bound(name)
            bound = bound if name in serves else None  # The export refused it: it is shown only.
            consumers[f"OpenVINO, {name}"] = (openvino_network(folder, file, precision), bound)
        consumers["ONNX Runtime"] = (onnx_network(folder, tmp_path / "model.onnx"), FP32)
        consumers["our server, its choice"] = (our_server(folder, "auto"), None)
    expected, rows = consumers["our server, torch"][0](texts), []
    print(f"\n{'consumer':32}{'labels equal':>14}{'largest diff.':>15}{'reviews/s':>11}")
    for name, (answers, bound) in consumers.items():
        answers(texts[:4])
        started = time.perf_counter()
        found = answers(texts)
        rate = len(texts) / (time.perf_counter() - started)
        equal = (found.argmax(axis=1) == expected.argmax(axis=1)).mean()
        difference = np.abs(found - expected).max()
        rows.append((name, equal, difference, bound))
        print(f"{name:32}{equal:>14.1%}{difference:>15.5f}{rate:>11.0f}", flush=True)
    return rows


def test_a_tiny_model_answers_everywhere_alike(served_folder, tmp_path):
    folder = tmp_path / "model"
    complete(served_folder, folder)
    rows = compared(folder, ["lovely, fits very good", "itchy " * 90, "okay"], tmp_path)
    assert all(equal == 1 and difference < 1e-5 for _, equal, difference, _ in rows)


def complete(source, folder):
    """A copy of a model folder with its temperature folded, and what other consumers need."""
    from components.shared.records.model_folder import read_calibration, read_training_facts
    from components.shared.records.network_folder import write_model_folder
    from components.training.loop.network import fold_temperature

    model = load_model(source).cpu()
    model.config.id2label = dict(enumerate(("negative", "neutral", "positive")))
    calibration = fold_temperature(model, read_calibration(source))
    facts = {**read_training_facts(source), "best": {}, "rows": {}}
    write_model_folder(folder, model, str(source), calibration, facts)
    write_json(folder / "calibration.json", {**calibration.to_dict(), "decision_offsets": [0] * 3})
    write_mlflow_model(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """MiniLM, fine-tuned a little on the bundled reviews, exported, as MLflow has it; and texts."""
    from components.serving.export import export_for_serving
    from components.shared.machine.base_model import load_tokenizer
    from components.shared.machine.files import write_parquet
    from components.shared.records.reviews import TRAINING_SET_SCHEMA
    from components.training.fine_tune import fine_tune
    from components.training.options import TrainingOptions

    root = tmp_path_factory.mktemp("conformance")
    reviews = pd.read_csv(Path(sample.__file__).parent / "sample_reviews.csv", dtype=str)
    reviews = reviews[reviews["Rating"].isin(list("12345")) & reviews["Review Text"].notna()]
    ratings = reviews["Rating"].astype(int)
    texts = [
        model_text(title if isinstance(title, str) else None, body)
        for title, body in zip(reviews["Title"], reviews["Review Text"], strict=True)
    ]
    tokenizer = load_tokenizer("minilm").backend_tokenizer
    tokenizer.enable_truncation(160)
    rows = []
    for number, (text, rating) in enumerate(zip(texts, ratings, strict=True)):
        ids = tokenizer.encode(text).ids
        row = {"review_id": f"r{number:05d}", "sentiment": (rating > 3) - (rating < 3)}
        row |= {"rating": rating, "split": "validation" if number % 8 == 0 else "train"}
        rows.append({**row, "copies": 1, **RATED, "input_ids": ids, "n_tokens": len(ids)})
    table = pa.Table.from_pylist(rows, schema=TRAINING_SET_SCHEMA)
    write_parquet(root / "set.parquet", table)
    options = TrainingOptions(epochs=1, min_steps=0)
    fine_tune(root / "set.parquet", "minilm", options, root / "model", facts={"max_tokens": 160})
    export_for_serving(root / "model", root / "set.parquet", root / "exported", max_reviews=100)
    write_model_card(root / "exported")
    write_mlflow_model(root / "exported")
    long = ["I wore it for a day and the seams came apart. " * 60]
    return root / "exported", [*long, *texts[:499]]


@pytest.mark.slow
def test_five_hundred_reviews_get_the_same_answer_everywhere(trained, tmp_path):
    folder, texts = trained
    assert read_json(folder / "calibration.json")["temperature"] == 1
    for name, equal, difference, bound in compared(folder, texts, tmp_path):
        if bound == FP32:
            assert (name, equal) == (name, 1)
            assert difference <= FP32, name
        elif bound:
            assert equal >= MIN_LABELS_EQUAL, name
            assert difference <= bound, name
