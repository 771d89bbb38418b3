import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.serving.model.batching import OverloadedError
from components.serving.model.predictor import Predictor
from components.serving.server import explaining
from components.serving.server.app import rest_application
from components.serving.server.data_plane import ForgivingDataPlane
from components.serving.server.explaining import Explaining
from components.serving.server.sentiment_model import SentimentModel
from components.shared.machine.errors import UserError
from tests.serving.conftest import NAME, V1, ask

EXPLAIN = f"/v1/models/{NAME}:explain"
TEXTS = ["lovely dress", "<b>itchy</b> and tight", "süß 👗", "soft " * 90]


class InThisProcess(Explaining):
    """Explains here, where a process of its own would take seconds to start."""

    def __init__(self, folder):
        self._folder, self._pool, self._waiting, self._seconds = str(folder), None, 0, 0.4


@pytest.fixture(scope="module")
def model(served_folder):
    model = SentimentModel(NAME, "3", served_folder, engine="torch")
    model.explaining = InThisProcess(served_folder)
    yield model
    model.explaining = None
    model.stop()


@pytest.fixture(scope="module")
def app(model):
    return rest_application(ForgivingDataPlane(model), 1_000_000, explains=True)


def asked(app, path, instances):
    sent = json.dumps({"instances": instances}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(sent))]
    status, headers, body = ask(app, path, sent, headers=headers)
    return status, headers, json.loads(body)


def test_each_answer_is_that_of_predict_with_its_words(app):
    status, _, said = asked(app, EXPLAIN, [*TEXTS, {"title": "Sad", "review_body": "awful"}])
    _, _, predicted = asked(app, V1, [*TEXTS, {"title": "Sad", "review_body": "awful"}])
    assert status == 200
    for one, answer in zip(said["explanations"], predicted["predictions"], strict=True):
        assert answer.items() <= one.items()
        added = sum(word["attribution"] for word in one["words"])
        assert added == pytest.approx(one["difference"], abs=0.05 * max(0.1, one["difference"]))
        assert one["completeness_error"] <= 0.05
    words = [[word["word"] for word in one["words"]] for one in said["explanations"]]
    assert words[1] == ["<b>itchy</b>", "and", "tight"]
    assert words[-1] == ["Sad.", "awful"]
    cut = said["explanations"][3]
    assert (cut["truncated"], len(cut["words"])) == (True, 30)


def test_the_class_that_is_explained_is_the_one_that_the_serving_engine_decided_for(
    app, model, monkeypatch
):
    """An engine of 8 bits may decide otherwise than torch does."""
    decided = []
    explain = model.explaining.explain

    async def remembered(texts, label_ids):
        decided.extend(label_ids)
        return await explain(texts, label_ids)

    monkeypatch.setattr(model.explaining, "explain", remembered)
    monkeypatch.setattr(Predictor, "decide", contrary(Predictor.decide))
    said = asked(app, EXPLAIN, ["lovely"])[2]["explanations"][0]
    assert [said["label_id"]] == decided
    assert said["probabilities"][said["label"]] < max(said["probabilities"].values())


def contrary(decide):
    def otherwise(self, logits, truncated):
        found = decide(self, logits, truncated)
        found.classes[:] = (found.classes + 1) % 3
        return found

    return otherwise


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        ([""], "instances[0] is blank"),
        (["a"] * 9, "instances holds 9 reviews; ask for 8 explanations at a time at most"),
        (["a", {"review_id": "r1"}], "instances[1] is a review_id; send the text"),
        ([], "instances is empty"),
        ([7], "instances[0] is neither a text"),
    ],
)
def test_a_mistake_gets_400_and_the_reason(app, instances, reason):
    status, _, said = asked(app, EXPLAIN, instances)
    assert status == 400
    assert reason in said["error"]


def test_where_too_many_wait_one_is_told_when_to_come_again(app, model, monkeypatch):
    monkeypatch.setattr(model.explaining, "_waiting", explaining.MOST_WAITING)
    monkeypatch.setattr(model.explaining, "_seconds", 0.4)
    status, headers, said = asked(app, EXPLAIN, ["lovely"])
    assert (status, headers[b"retry-after"]) == (503, b"7")
    assert "try again in 7 s" in said["error"]
    assert asked(app, V1, ["lovely"])[0] == 200, "predictions go on"
    monkeypatch.setattr(model.explaining, "_waiting", 0)
    assert asked(app, EXPLAIN, ["lovely"])[0] == 200
    assert model.explaining._waiting == 0


def test_where_it_is_off_it_says_how_to_switch_it_on(model):
    app = rest_application(ForgivingDataPlane(model), 1000)
    status, _, said = asked(app, EXPLAIN, ["lovely"])
    assert status == 404
    assert "start it with --explain" in said["error"]
    paths = json.loads(ask(app, "/openapi.json", method="GET")[2])["paths"]
    assert "/v1/models/{model_name}:explain" not in paths


def test_the_endpoint_is_described_as_it_answers(app):
    import jsonschema

    document = json.loads(ask(app, "/openapi.json", method="GET")[2])
    operation = document["paths"]["/v1/models/{model_name}:explain"]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    _, _, said = asked(app, EXPLAIN, ["lovely 很好"])
    jsonschema.validate(said, {**schema, "components": document["components"]})


def test_what_is_not_installed_is_named(monkeypatch, served_folder):
    explaining._explainer.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"not installed .*torch.*extra `explaining`"):
        explaining._explained(str(served_folder), "a", 0)


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(served_folder):
    own = Explaining(served_folder)

    async def ask_one():
        return (await own.explain(["lovely"], [0]))[0]

    first = asyncio.run(ask_one())
    (process,) = own._pool._processes.values()
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10
    process.kill()
    with pytest.raises(RuntimeError, match="has died; ask again"):
        asyncio.run(ask_one())
    assert asyncio.run(ask_one()) == first
    with pytest.raises(OverloadedError):
        asyncio.run(own.explain(["a"] * 17, [0] * 17))
    own.close()


@pytest.mark.slow
def test_a_server_explains_to_kserves_own_client_and_its_process_ends_with_it(start_server):
    from kserve import InferenceRESTClient
    from kserve import RESTConfig as Config

    server = start_server("--explain")

    async def ask_client():
        async with InferenceRESTClient(Config(protocol="v1")) as client:
            url = f"http://127.0.0.1:{server.port}"
            return await client.explain(url, NAME, {"instances": TEXTS})

    said = asyncio.run(ask_client())
    assert len(said["explanations"]) == len(TEXTS)
    children = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", "spawn_main"],
        **{"capture_output": True, "text": True, "check": True},
    )
    (child,) = children.stdout.split()
    server.end(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and is_alive(int(child)):
        time.sleep(0.05)
    assert not is_alive(int(child))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_server_that_does_not_explain_loads_no_torch(exported_folder):
    code = (
        "import sys\nfrom components.serving.server.sentiment_model import SentimentModel\n"
        f"SentimentModel('m', '1', {str(exported_folder)!r}, engine='openvino-int8')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
