import os
import sys
from dataclasses import replace

import pytest

from components.deployment.local.model_servers import ModelServers
from components.deployment.local.service_file import ServedModel
from tests.deployment.conftest import stub_command, until

ONE, TWO = (ServedModel("review-sentiment", f"/m/{version}", version) for version in "12")
DYING = replace(ONE, arguments=("dies",))


@pytest.fixture
def servers(tmp_path):
    made = ModelServers(tmp_path / "servers", stub_command, 10.0, lambda: made.now)
    made.now = 1000.0
    yield made
    made.end_all()


def observed(servers, reached):
    """Looks at the servers until a rule of theirs holds."""
    until(lambda: servers.observe() or reached())


def test_a_server_is_seen_from_its_start_to_its_end(servers):
    servers.start(ONE)
    (starting,) = servers.seen
    assert (starting.key, starting.port, starting.ending) == (ONE.key, None, False)
    observed(servers, lambda: servers.seen[0].port)
    servers.end(starting.id)
    assert (servers.seen[0].port, servers.seen[0].ending) == (None, True)
    observed(servers, lambda: not servers.seen)
    assert servers.failures == {}


def test_a_server_that_dies_is_tried_again_at_once_and_then_later_and_later(servers):
    for count, pause in ((1, 0.0), (2, 1.0), (3, 2.0), (4, 4.0)):
        servers.start(DYING)
        observed(servers, lambda: not servers.seen)
        failure = servers.failures[DYING.key]
        assert (failure.count, failure.retry_at - servers.now) == (count, pause)
        assert "the weights are broken" in failure.message
        assert servers.held_back == ({DYING.key} if pause else set())
        servers.now += pause
        assert servers.held_back == set()
    servers.forget_failures([TWO.key])
    assert servers.failures == {}


def test_a_server_that_cannot_be_started_is_a_failure_of_its_model(servers):
    impossible = replace(ONE, arguments=("x" * 10**6,))
    servers.start(impossible)
    assert "could not be started: " in servers.failures[impossible.key].message
    assert servers.seen == []


def test_a_server_that_stays_ready_is_forgiven(servers):
    servers.start(DYING)
    observed(servers, lambda: servers.failures)
    failure = servers.failures.pop(DYING.key)
    servers.start(ONE)
    servers.failures[ONE.key] = failure
    observed(servers, lambda: servers.seen[0].port)
    servers.now += 59
    servers.observe()
    assert servers.failures
    servers.now += 2
    servers.observe()
    assert servers.failures == {}


def test_a_server_that_does_not_end_in_time_is_killed(servers):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)\n"
    servers.command = lambda *_: [sys.executable, "-c", deaf + "time.sleep(60)"]
    servers.start(ONE)
    (log,) = servers.folder.glob("*.log")
    until(log.read_text)
    servers.end(servers.seen[0].id)
    servers.observe()
    servers.now += 11
    observed(servers, lambda: not servers.seen)
    assert servers.failures == {}


def test_only_the_last_logs_stay(servers):
    servers.folder.mkdir()
    for number in range(15):
        for kind in ("log", "port"):
            (servers.folder / f"v1-{number:02}.{kind}").write_text("")
        os.utime(servers.folder / f"v1-{number:02}.log", (number, number))
    servers.observe()
    left = {path.name for path in servers.folder.iterdir()}
    assert left == {f"v1-{number:02}.{kind}" for number in range(5, 15) for kind in ("log", "port")}
