import json
import socket
import subprocess
import sys
import time

import pytest

from components.shared.records.payloads import read_payloads
from tests.serving.conftest import V1, V2

pytestmark = pytest.mark.slow


def lines(server):
    return [json.loads(line) for line in server.stdout.read_text().splitlines()]


def test_each_request_gets_a_line_of_json_without_its_text(start_server):
    server = start_server()
    _, headers, _ = server.request(V1, {"instances": ["lovely dress", "okay"]})
    server.request(V2, b"{", {"x-request-id": "mine"})
    server.request("/v2/health/live")
    assert server.end() in (0, -15)
    answered, refused = lines(server)
    assert answered["request_id"] == headers["x-request-id"]
    assert (answered["status"], answered["reviews"], answered["model_version"]) == (200, 2, "3")
    assert answered["ms"] >= answered["queue_ms"] >= 0
    assert (refused["status"], refused["request_id"], refused["path"]) == (400, "mine", V2)
    assert "lovely" not in server.stdout.read_text() + server.stderr.read_text()
    ready = server.stderr.read_text().splitlines()
    assert "Traceback" not in server.stderr.read_text()
    assert any(f"ready: http://localhost:{server.port}" in line for line in ready)


def test_texts_are_kept_masked_and_in_the_payload_log_alone_where_asked_for(start_server, tmp_path):
    server = start_server("--keep-texts", "--payload-log", str(tmp_path / "payloads"))
    instance = {"review_body": "lovely dress, a@b.com", "review_id": "r7"}
    instance |= {"product_category": "Dresses"}
    server.request(V1, {"instances": [instance]}, {"x-request-id": "mine"})
    assert server.end() in (0, -15)
    assert "lovely" not in server.stdout.read_text() + server.stderr.read_text()
    assert server.stderr.read_text().count("has no list of known words") == 1
    (row,) = read_payloads(str(tmp_path / "payloads")).to_pylist()
    assert (row["request_id"], row["text"]) == ("mine", "lovely dress, [email]")
    assert (row["review_id"], row["product_category"]) == ("r7", "Dresses")
    assert (row["n_words"], row["unknown_share"]) == (5, None)
    assert row["n_tokens"] > 5


COMMAND = [sys.executable, "-m", "components.serving", "--http-port", "0"]


def test_a_taken_port_and_a_missing_folder_are_said_in_words(served_folder, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for folder, changed, reason in (
            (served_folder, ("--http-port", port), "give another port"),
            (served_folder, ("--grpc-port", port), "give another port"),
            (tmp_path, (), "not a whole model folder"),
        ):
            command = [*COMMAND, "--model-dir", str(folder), *changed]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert ended.returncode == 2
            assert ended.stderr.startswith("error: ")
            assert reason in ended.stderr
            assert len(ended.stderr.splitlines()) == 1


def test_a_signal_while_it_starts_ends_it(served_folder):
    command = [*COMMAND, "--model-dir", str(served_folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        time.sleep(2)
        process.terminate()
        assert process.wait(60) in (0, -15)
