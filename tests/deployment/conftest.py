"""The published CRDs as strict JSON schemas, and stand-ins for the model server."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.deployment.local.model_process import ModelProcess, ServedModel, serving_command

CRDS = Path(
    os.environ.get("CRDS_DIR") or Path(__file__).resolve().parents[2].parent / "shared" / "crds"
)
STUB = Path(__file__).parent / "local" / "stub_server.py"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is missing; apt install nginx")


@pytest.fixture(params=["Standard", "Knative"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each of KServe's deployment modes."""
    return request.param


def until(reached: Callable[[], Any], within: float = 20) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


stub_command = partial(serving_command, program=(sys.executable, str(STUB)))


@pytest.fixture
def start_stub(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts stubs of the model server; the port of each. None outlives the test."""
    started = []

    def start(version: str = "1", fault: str = "") -> int:
        model = ServedModel("m", "/m", version, arguments=(fault,) if fault else ())
        started.append(ModelProcess.start(model, tmp_path / "servers", stub_command))
        return started[-1].wait_until_ready(10)

    yield start
    for process in started:
        process.kill()


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """An openAPIV3Schema as the API server enforces it: unknown fields are errors."""
    made = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [made["type"], "null"]
    if "properties" in schema:
        made["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if isinstance(schema.get("items"), dict):
        made["items"] = strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"])
    return made


@pytest.fixture
def faults_of() -> Callable[[dict[str, Any], str], list[str]]:
    """What a CRD finds wrong with an object."""

    def find(manifest: dict[str, Any], crd_file: str) -> list[str]:
        from jsonschema import Draft202012Validator

        path = CRDS / crd_file
        if not path.exists():
            pytest.skip(f"the published CRDs are not at {CRDS} (set CRDS_DIR)")
        crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        api_version = manifest["apiVersion"].removeprefix(crd["spec"]["group"] + "/")
        (version,) = [v for v in crd["spec"]["versions"] if v["name"] == api_version]
        schema = strict(version["schema"]["openAPIV3Schema"])
        # The API server knows metadata by itself.
        schema["properties"]["metadata"] = {"type": "object"}
        faults = Draft202012Validator(schema).iter_errors(manifest)
        return [f"{fault.json_path}: {fault.message}" for fault in faults]

    return find
