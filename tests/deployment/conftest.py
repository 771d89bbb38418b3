"""Worlds to try versions in, and stand-ins for the model server."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.deployment.local.model_process import ModelProcess, ServedModel, serving_command
from components.shared.machine.files import write_json
from components.shared.records.labels import SENTIMENTS
from tests.deployment.rollout_world import Lab, World
from tests.shared.kubernetes.test_shared_folder import write_model

STUB = Path(__file__).parent / "local" / "stub_server.py"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is missing; apt install nginx")


@pytest.fixture(params=["Standard", "Knative"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each of KServe's deployment modes."""
    return request.param


@pytest.fixture
def world(mode: str) -> World:
    """A cluster in each mode, with version 3 on it."""
    return World(mode)


@pytest.fixture
def lab(mode: str) -> Lab:
    """A world in each mode where version 4 is more often right than version 3."""
    return Lab(mode)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A whole model folder, which no server could load."""
    write_model(tmp_path / "model")
    labels = {"id2label": dict(enumerate(SENTIMENTS.names))}
    write_json(tmp_path / "model" / "config.json", labels)
    return tmp_path / "model"


def until(reached: Callable[[], Any], within: float = 20) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


stub_command = partial(serving_command, program=(sys.executable, str(STUB)))


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ModelProcess]]:
    """Starts stubs of the model server; none outlives the test."""
    started = []

    def start(
        version: str = "1", fault: str = "", command: Any = stub_command, **options: Any
    ) -> ModelProcess:
        model = ServedModel("m", "/m", version, arguments=(fault,) if fault else ())
        started.append(ModelProcess.start(model, tmp_path / "servers", command, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def start_stub(start_server: Callable[..., ModelProcess]) -> Callable[..., int]:
    """Starts a stub of the model server; its port, once it is ready."""
    return lambda *which, **how: start_server(*which, **how).wait_until_ready(10)


@pytest.fixture
def stub_url(start_stub: Callable[..., int]) -> Callable[..., str]:
    """Starts a stub of the model server; its URL."""
    return lambda *which, **how: f"http://127.0.0.1:{start_stub(*which, **how)}"
