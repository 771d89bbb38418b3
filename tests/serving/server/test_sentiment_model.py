import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.errors import InvalidInput, ModelNotFound

from components.serving.model.predictor import Tokens
from components.serving.observing.payload_rows import Asked
from components.serving.server.sentiment_model import SentimentModel
from components.shared.records.labels import SENTIMENTS

SMALL = {"content-length": "100"}


@pytest.fixture(scope="module")
def answered():
    """What the model reports of its answers: texts, predictions, seconds in the queue."""
    return []


@pytest.fixture(scope="module")
def model(served_folder, answered):
    model = SentimentModel(
        "sentiment", "3", served_folder, engine="torch", on_answer=lambda *it: answered.append(it)
    )
    assert (model.ready, model.engine_name) == (True, "torch")
    yield model
    model.stop()


def v2(*texts, version=None):
    tensor = InferInput("text", [len(texts)], "BYTES", list(texts))
    return InferRequest("sentiment", [tensor], request_id="7", model_version=version)


def ask(model, payload, headers=SMALL):
    return asyncio.run(asyncio.wait_for(model.predict(payload, headers), 60))


@pytest.mark.parametrize("headers", [SMALL, {"content-length": "99999999"}, {}, None])
def test_both_protocols_give_what_the_predictor_says(model, headers):
    texts = ["lovely dress", "itchy " * 50, "okay"]
    said = model._predictor.predict([" ".join(text.split()) for text in texts])
    v1 = ask(model, {"instances": texts}, headers)["predictions"]
    outputs = {output.name: output.as_numpy() for output in ask(model, v2(*texts), headers).outputs}
    assert [row["label"] for row in v1] == outputs["label"].tolist() == said.labels
    assert [row["label_id"] for row in v1] == outputs["label_id"].tolist() == said.classes.tolist()
    assert [row["truncated"] for row in v1] == [False, True, False]
    assert {row["model_version"] for row in v1} == set(outputs["model_version"]) == {"3"}
    for row, tensor, expected in zip(v1, outputs["probabilities"], said.probabilities, strict=True):
        assert list(row["probabilities"]) == list(SENTIMENTS.names)
        np.testing.assert_allclose(list(row["probabilities"].values()), expected, atol=1e-6)
        np.testing.assert_allclose(tensor, expected, atol=1e-6)


def test_the_clients_mistake_is_invalid_input(model):
    for headers in (SMALL, {}, {"content-length": "x"}, {"content-length": "9" * 5000}):
        with pytest.raises(InvalidInput, match=r"instances\[0\] is blank"):
            ask(model, {"instances": [" "]}, headers)
    with pytest.raises(InvalidInput, match="reads no feature store"):
        ask(model, {"instances": [{"review_id": "r1"}]})


def test_another_version_is_not_found(model):
    assert ask(model, v2("okay", version="3")).model_version == "3"
    assert ask(model, v2("okay", version="")).model_version == "3"
    with pytest.raises(ModelNotFound, match="version 4"):
        ask(model, v2("okay", version="4"))


def test_each_answer_is_reported_with_the_text_that_the_model_read(model, answered):
    about = {"review_id": "r7", "product_category": "Dresses"}
    ask(model, {"instances": [{"title": "Nice", "review_body": "okay"} | about]})
    asked, predictions, queue_seconds = answered[-1]
    ((ids, _),) = model._predictor.tokenise(["Nice. okay"])
    assert asked == [Asked("Nice. okay", "r7", "Dresses", len(ids))]
    assert predictions.truncated == [False]
    assert predictions.probabilities.shape == (1, 3)
    assert queue_seconds >= 0


def test_keys_and_texts_may_stand_side_by_side(model, monkeypatch, answered):
    known = {"r1": Tokens([2, 5, 6, 3], False), "r2": Tokens([2, *[5] * 30, 3], True)}
    lookup = SimpleNamespace(tokens=lambda keys: [known.get(key) for key in keys])
    monkeypatch.setattr(model, "_lookup", lookup)
    asked = {"instances": [{"review_id": "r2"}, "okay", {"review_id": "r1"}]}
    mixed = ask(model, asked)["predictions"]
    keys = [(one.text, one.review_id, one.n_tokens) for one in answered[-1][0]]
    assert [keys[0], keys[2]] == [("", "r2", 32), ("", "r1", 4)]
    assert keys[1][:2] == ("okay", "")
    assert [row["truncated"] for row in mixed] == [True, False, False]
    alone = [ask(model, {"instances": [one]})["predictions"][0] for one in asked["instances"]]
    for found, expected in zip(mixed, alone, strict=True):
        assert found["label"] == expected["label"]
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
    with pytest.raises(InvalidInput, match="holds no review 'r9'"):
        ask(model, {"instances": [{"review_id": "r9"}]})
