"""A whole model folder around the tiny BERT, and real server processes on it."""

import asyncio
import io
import json
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from components.serving.observing.access_log import AccessLog
from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.observer import Observer
from components.shared.machine.files import write_json, write_parquet
from components.shared.machine.ports import free_port
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from components.shared.records.serving_metrics import REQUESTS
from tests.conftest import RATED

NAME = "review-sentiment"
V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
ONE = {"instances": ["soft"]}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)


def element(content):
    """A text in a binary tensor."""
    return struct.pack("<I", len(content)) + content


@pytest.fixture(scope="session")
def served_folder(tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    shutil.copytree(tiny_bert, folder)
    facts = {"options": {}, "facts": {}, "history": [], "speed": {}, "max_tokens": 32}
    write_json(folder / "training.json", {**facts, "class_prior": [0.1, 0.1, 0.8]})
    offsets = [0.0, 0.002, 0.001]
    write_json(folder / "calibration.json", {"temperature": 1.5, "decision_offsets": offsets})
    (folder / "model_card.md").write_text("# A tiny model\n")
    return folder


@pytest.fixture(scope="session")
def training_set(served_folder, tmp_path_factory):
    """Tokenised reviews of the tiny model's words, of one to thirty of them; two splits."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(served_folder / "tokenizer.json"))
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 1)
    random = np.random.default_rng(0)
    rows = []
    for row in range(120):
        ids = tokenizer.encode(" ".join(random.choice(words, random.integers(1, 31)))).ids
        known = {"review_id": f"r{row:03d}", "split": "train" if row % 3 else "validation"}
        known |= {"sentiment": row % 3 - 1, "copies": 1, "input_ids": ids, "n_tokens": len(ids)}
        known |= RATED
        rows.append({**dict.fromkeys(TRAINING_SET_SCHEMA.names), **known})
    path = tmp_path_factory.mktemp("training") / "set.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, schema=TRAINING_SET_SCHEMA))
    return path


@pytest.fixture(scope="session")
def exported_folder(served_folder, training_set, tmp_path_factory):
    """The model folder with its engines; takes ten seconds."""
    from components.serving.export import export_for_serving

    folder = tmp_path_factory.mktemp("exported") / "model"
    export_for_serving(served_folder, training_set, folder)
    return folder


@dataclass
class Server:
    """A server process, and how to ask it."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    stdout: Path
    stderr: Path

    def request(self, path, body=None, headers=None, method=None):
        """Status, headers and body; objects are sent as JSON."""
        sent = json.dumps(body) if isinstance(body, dict | list) else body
        headers = {"Content-Type": "application/json"} if headers is None else headers
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, sent, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def end(self, signal_number=signal.SIGTERM):
        """The code with which the process ends."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def start_server(served_folder, tmp_path_factory):
    """Starts servers of the tiny model over REST and gRPC; none outlives the session."""
    started = []

    def start(*arguments):
        folder = tmp_path_factory.mktemp("server")
        port_file, stdout, stderr = folder / "port", folder / "stdout", folder / "stderr"
        grpc_port = free_port("127.0.0.1", 0)
        command = [sys.executable, "-m", "components.serving", "--model-dir", str(served_folder)]
        command += ["--model-version", "3", "--http-port", "0", "--port-file", str(port_file)]
        command += ["--grpc-port", str(grpc_port), *arguments]
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err)
        server = Server(process, 0, grpc_port, stdout, stderr)
        started.append(server)
        deadline = time.monotonic() + 300
        while not port_file.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert port_file.exists(), stderr.read_text()
        server.port = int(port_file.read_text())
        return server

    yield start
    for server in started:
        server.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(start_server):
    """One server for all tests that leave it as it was."""
    return start_server()


class Stream(io.BytesIO):
    """A stream that an access log writes to."""

    def lines(self):
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def log(stream):
    log = AccessLog("7", stream, flush_seconds=0.0)
    yield log
    log.close()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return ServingMetrics("reviews", "7", registry)


@pytest.fixture
def observer(metrics, log):
    return Observer(metrics, log)


def counted(registry, protocol, code):
    """Requests of a protocol that were answered with a status, by `metrics`."""
    labels = {"model_name": "reviews", "model_version": "7", "protocol": protocol}
    return registry.get_sample_value(REQUESTS, {**labels, "code": str(code)}) or 0


def ask(app, path, *chunks, method="POST", headers=()):
    """Send a request to an ASGI application; status, headers and body of its answer.

    Each chunk is a part of the body; the client leaves where one is None. What the application did
    not read is in `app.left`.
    """
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    scope |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1"}
    scope["client"] = ("10.1.2.3", 4711)
    gone = {"type": "http.disconnect"}
    coming = [
        gone
        if chunk is None
        else {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks or (b"",), 1)
    ]
    sent = []

    async def receive():
        return coming.pop(0) if coming else gone

    async def send(message):
        sent.append(message)

    try:
        asyncio.run(app(scope, receive, send))
    finally:
        app.left = coming
    start = sent[0] if sent else {"status": None, "headers": []}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return start["status"], dict(start["headers"]), body
