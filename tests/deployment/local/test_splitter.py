import json
import os
import socket
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from scipy.stats import binomtest

from components.deployment.local import splitter as subject
from components.deployment.local.splitter import Backend, Split, Splitter, render_configuration
from components.shared.machine.errors import UserError
from tests.deployment.conftest import NGINX, needs_nginx, until

pytestmark = needs_nginx
CLIENT = httpx.Client(timeout=20)


@pytest.fixture
def splitter(tmp_path):
    made = Splitter(tmp_path / "nginx", "127.0.0.1", 0)
    yield made
    made.end(5)


def ask(splitter, body=b"{}", request_id=None):
    """Status, headers and body of an answer."""
    headers = {"X-Request-Id": request_id} if request_id else {}
    url = f"{splitter.url}/v2/models/review-sentiment/infer"
    answer = CLIENT.post(url, content=body, headers=headers)
    return answer.status_code, answer.headers, answer.content


def seen_by(port):
    return CLIENT.get(f"http://127.0.0.1:{port}/seen").json()


@pytest.fixture
def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def only(version, port):
    return Split((Backend(version, port, 100),))


def at_once(count, call):
    """Calls in threads of their own; what they return, once they have ended."""
    pool = ThreadPoolExecutor(count)
    calls = [pool.submit(call) for _ in range(count)]
    return lambda: [one.result() for one in calls]


def test_requests_are_split_by_independent_draws_of_their_ids(start_stub, splitter):
    splitter.apply(Split((Backend("1", start_stub("1"), 90), Backend("2", start_stub("2"), 10))))
    went = Counter()
    for _ in range(800):
        status, headers, body = ask(splitter)
        assert status == 200
        went[headers["X-Model-Version"]] += 1
        assert json.loads(body)["outputs"][0]["data"] == [headers["X-Model-Version"]]
    assert set(went) == {"1", "2"}
    # Of a splitter that is right, one run in ten thousand fails.
    assert binomtest(went["2"], 800, 0.1).pvalue > 1e-4
    assert len({ask(splitter, request_id="r1")[1]["X-Model-Version"] for _ in range(12)}) == 1


def test_a_fault_is_passed_on_and_named_but_another_answers_for_one_that_cannot(
    start_stub, splitter, closed_port
):
    other = start_stub("1")
    for port, answer in (
        (start_stub("2", "500"), (500, "2")),
        (start_stub("2", "breaks-off"), (200, "1")),
        (closed_port, (200, "1")),
    ):
        splitter.apply(Split((Backend("1", other, 0), Backend("2", port, 100))))
        before = len(seen_by(other))
        for _ in range(5):
            status, headers, _ = ask(splitter)
            assert (status, headers["X-Model-Version"]) == answer
        assert len(seen_by(other)) - before == (0 if status == 500 else 5)


def test_a_shadow_gets_a_copy_under_the_same_id_and_its_answer_is_thrown_away(
    start_stub, splitter, closed_port
):
    stable, shadow = start_stub("1"), start_stub("2", "500")
    splitter.apply(Split((Backend("1", stable, 100),), Backend("2", shadow, 0)))
    for request_id in ("r1", None, "r3"):
        status, headers, body = ask(splitter, request_id=request_id)
        assert (status, headers["X-Model-Version"]) == (200, "1")
        assert json.loads(body)["outputs"][0]["data"] == ["1"]
    until(lambda: len(seen_by(shadow)) == 3)
    assert {"r1", "r3"} < set(seen_by(shadow)) == set(seen_by(stable))
    # One that is slow or absent delays nobody.
    for port in (start_stub("2", "slow:2"), closed_port):
        splitter.apply(Split((Backend("1", stable, 100),), Backend("2", port, 0)))
        started = time.monotonic()
        assert [ask(splitter)[0] for _ in range(3)] == [200] * 3
        assert time.monotonic() - started < 1.5


def test_texts_are_written_nowhere(start_stub, splitter, tmp_path):
    splitter.apply(only("1", start_stub("1")))
    body = json.dumps("a secret text " * 500_000).encode()
    assert json.loads(ask(splitter, body)[2])["bytes"] == len(body)
    assert ask(splitter, b"x" * 17_000_000)[0] == 413
    files = [path for path in (tmp_path / "nginx").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"nginx.conf", "nginx.pid", "nginx.log"}
    assert not any(b"secret" in path.read_bytes() for path in files)
    # It says so where it writes a body to a file for a while.
    assert "temporary file" not in splitter.log_file.read_text()


def test_a_refused_configuration_leaves_the_one_before(start_stub, splitter, monkeypatch):
    one = start_stub("1")
    splitter.apply(only("1", one))
    monkeypatch.setattr(subject, "render_configuration", lambda *_: "nonsense;")
    with pytest.raises(UserError, match=r'did not take up .*unknown directive "nonsense"'):
        splitter.apply(only("2", one), within=0.3)
    assert ask(splitter)[1]["X-Model-Version"] == "1"


def test_an_end_answers_what_was_accepted_and_where_nobody_can_it_says_so(start_stub, splitter):
    splitter.apply(only("1", start_stub("1", "slow:0.6")))
    join = at_once(3, lambda: ask(splitter)[0])
    time.sleep(0.3)
    splitter.end(10)
    assert join() == [200] * 3
    assert not splitter.is_running()
    with pytest.raises(httpx.TransportError):
        ask(splitter)
    splitter.apply(Split())
    status, headers, body = ask(splitter)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert json.loads(body) == {"error": "no model server is ready"}


def test_requests_split_as_before_are_seen_to_drain(start_stub, splitter):
    slow, other = start_stub("1", "slow:0.8"), start_stub("2")
    splitter.apply(only("1", slow))
    join = at_once(1, lambda: ask(splitter)[1]["X-Model-Version"])
    until(lambda: seen_by(slow))
    splitter.apply(only("2", other))
    assert splitter.is_draining()
    # In effect from now on, not some time later.
    assert {ask(splitter)[1]["X-Model-Version"] for _ in range(20)} == {"2"}
    assert join() == ["1"]
    until(lambda: not splitter.is_draining())


def test_a_port_that_is_taken_and_a_missing_nginx_are_named(tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}"):
            Splitter(tmp_path / "nginx", "127.0.0.1", port)
    # A stale pid file is not taken for nginx.
    (tmp_path / "nginx").mkdir(exist_ok=True)
    (tmp_path / "nginx" / "nginx.pid").write_text(str(os.getpid()))
    splitter = Splitter(tmp_path / "nginx", "127.0.0.1", 0)
    assert not splitter.is_running()
    splitter.end(1)  # signals nobody
    monkeypatch.setattr(subject.shutil, "which", lambda *_, **__: None)
    with pytest.raises(UserError, match="apt install nginx"):
        Splitter(tmp_path / "nginx", "127.0.0.1", 0)


def test_the_configuration_gives_each_its_share_and_the_last_the_rest():
    backends = tuple(Backend("v", port, percent) for port, percent in ((1, 70), (2, 0), (3, 30)))
    text = render_configuration(Split(backends), Path("/p"), "127.0.0.1", 8080)
    shares = text.split("split_clients $asked_id $chosen {")[1].split("}")[0].split()
    assert shares == ["70%", "version_1;", "*", "version_3;"]
    assert "mirror /" not in text
    with pytest.raises(ValueError, match="do not add up"):
        Split((Backend("1", 1, 90),))


@pytest.mark.parametrize("version", ['3"; evil', "$request_body", "é{}\n;", "", "ok-1.2"])
def test_nginx_takes_every_version_as_a_plain_word(tmp_path, version):
    split = Split((Backend(version, 20_000, 100),), Backend(version, 20_001, 0))
    for name in ("body", "answers", "fastcgi", "uwsgi", "scgi"):
        (tmp_path / name).mkdir()
    (tmp_path / "n.conf").write_text(render_configuration(split, tmp_path, "::1", 20_002))
    command = [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "n.conf"), "-t"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "$request_body" not in (tmp_path / "n.conf").read_text()
