import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection

import pytest

from components.contracts.decision import decide, probabilities
from components.contracts.inference import load_model, predict_logits
from components.contracts.labels import CLASS_NAMES
from components.contracts.model_folder import read_calibration
from components.serving.predictor import Predictor


def expected(folder, texts):
    """What evaluation computes, the long way."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text, truncation=True, max_length=32)["input_ids"] for text in texts]
    logits = predict_logits(load_model(folder), ids)
    calibration = read_calibration(folder)
    return decide(logits, calibration), probabilities(logits, calibration)


def test_the_predictor_decides_as_evaluation_does_and_cuts_as_training_does(served_folder):
    texts = ["lovely dress", "the fabric is itchy and tight " * 20, "okay"]
    said = Predictor(served_folder).predict(texts)
    classes, chances = expected(served_folder, texts)
    assert said.classes.tolist() == classes.tolist()
    assert abs(said.probabilities - chances).max() < 1e-6
    assert said.labels == [CLASS_NAMES[index] for index in classes]


def test_the_model_answers_both_protocols_and_keeps_the_event_loop_free(served_folder, monkeypatch):
    from kserve import InferInput, InferRequest

    from components.serving.server import SentimentModel

    model = SentimentModel("sentiment", "3", served_folder)
    assert not model.ready
    assert model.load()

    predict = model._predictor.predict

    def slowly(texts):
        time.sleep(0.2)
        return predict(texts)

    monkeypatch.setattr(model._predictor, "predict", slowly)
    text = InferInput("text", [1], "BYTES", ["lovely dress"])

    async def ask():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        heart = asyncio.create_task(beat())
        v1, _ = await model({"instances": ["lovely dress"]})
        v2, _ = await model(InferRequest("sentiment", [text], request_id="7"))
        heart.cancel()
        return v1, v2, beats

    v1, v2, beats = asyncio.run(ask())
    (said,) = v1["predictions"]
    outputs = {output.name: output.as_numpy() for output in v2.outputs}
    assert said["model_version"] == v2.model_version == "3"
    assert outputs["label"].tolist() == [said["label"]]
    assert outputs["label_id"].tolist() == [said["label_id"]]
    assert outputs["probabilities"].ravel() == pytest.approx(
        list(said["probabilities"].values()), abs=1e-6
    )
    assert beats > 10


def test_the_clients_mistake_is_invalid_input(served_folder):
    from kserve.errors import InvalidInput

    from components.serving.server import SentimentModel

    model = SentimentModel("sentiment", "3", served_folder)
    with pytest.raises(InvalidInput, match="blank"):
        asyncio.run(model.predict({"instances": [" "]}))


@pytest.fixture(scope="module")
def running(served_folder, tmp_path_factory):
    """A server process: a function that asks it, the process, and its log."""
    folder = tmp_path_factory.mktemp("server")
    port_file, log_file = folder / "port", folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "components.serving", "--model-dir", str(served_folder)),
                *("--model-version", "3", "--http-port", "0", "--port-file", str(port_file)),
            ],
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 300
    while not port_file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert port_file.exists(), log_file.read_text()

    def ask(path, body=None, content_type="application/json", method=None):
        connection = HTTPConnection("127.0.0.1", int(port_file.read_text()), timeout=60)
        headers = {"Content-Type": content_type} if content_type else {}
        sent = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method or ("POST" if body is not None else "GET"), path, sent, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer)

    yield ask, process, log_file
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.mark.slow
def test_a_real_server_answers_describes_itself_and_refuses_politely(running):
    ask, _, _ = running
    name = "review-sentiment"
    assert ask(f"/v2/models/{name}/ready") == (200, {"name": name, "ready": True})
    status, metadata = ask(f"/v2/models/{name}")
    assert status == 200
    assert metadata["versions"] == ["3"]
    assert {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]} in metadata["outputs"]

    review = {"instances": [{"title": "Nice", "review_body": "lovely dress"}]}
    # curl -d without a header says that it sends a form.
    form = "application/x-www-form-urlencoded"
    for content_type in ("application/json", form, None):
        status, answer = ask(f"/v1/models/{name}:predict", json.dumps(review), content_type)
        assert status == 200
        assert answer["predictions"][0]["label"] in CLASS_NAMES
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["lovely dress"]}
    for content_type in ("application/json", form, None):
        body = json.dumps({"inputs": [tensor]})
        status, answer = ask(f"/v2/models/{name}/infer", body, content_type)
        assert status == 200
        assert answer["outputs"][0]["data"][0] in CLASS_NAMES

    for body in ("{", "[]", "null", "{}", '{"inputs": [{"name": "text"}]}', '{"instances": [" "]}'):
        for path in (f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"):
            for content_type in ("application/json", form):
                status, answer = ask(path, body, content_type)
                assert (status, list(answer)) == (400, ["error"]), (path, body, answer)
    assert ask("/v1/models/other:predict", review)[0] == 404


@pytest.mark.slow
def test_a_real_server_logs_a_line_for_each_request_and_ends_at_sigterm(running):
    ask, process, log_file = running
    before = len(log_file.read_text().splitlines())
    ask("/v2/health/live")
    ask("/v1/models/review-sentiment:predict", "{")
    assert len(log_file.read_text().splitlines()) == before + 2
    assert "Traceback" not in log_file.read_text()
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_a_taken_port_and_a_missing_folder_are_said_in_words(served_folder, tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, reason in (
            (["--model-dir", str(served_folder), "--http-port", port], "give another port"),
            (["--model-dir", str(tmp_path), "--http-port", "0"], "not a whole model folder"),
        ):
            ended = subprocess.run(
                [sys.executable, "-m", "components.serving", *arguments],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert ended.returncode == 2
            assert ended.stderr.startswith("error: ")
            assert reason in ended.stderr
            assert len(ended.stderr.splitlines()) == 1
