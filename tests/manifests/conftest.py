"""The manifests as `kubectl kustomize` builds them; skipped where there is no kubectl."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
OVERLAYS = ("small", "gpu", "profile")
ROOTS = tuple(f"overlays/{name}" for name in OVERLAYS)
ROOTS += ("monitoring", "serving-by-hand", "base/katib/experiment.yaml")
"""Everything that `kubectl apply -k` or `kubectl create -f` takes."""

OPTIONS = ("default-runner", "enforce-pod-security", "feast-operator", "proxy")
OPTIONS += ("pod-security-defaults", "single-node")
OPTIONS += ("label-studio", "label-studio-sign-in")
"""Components that are in no overlay: a user adds them."""

Manifest = dict[str, Any]


@cache
def build(folder):
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if folder.is_file():
        return tuple(yaml.load_all(folder.read_text(), Loader=loader))
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is missing; install it to test the manifests")
    command = ["kubectl", "kustomize", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "deprecated" not in made.stderr, made.stderr
    return tuple(yaml.load_all(made.stdout, Loader=loader))


def write_kustomization(folder, overlay, components=(), **fields):
    # kustomize takes relative paths only.
    root = "../" * (len(folder.resolve().parts) - 1) + str(MANIFESTS.relative_to("/"))
    fields |= {"resources": [f"{root}/overlays/{overlay}"]}
    fields |= {"components": [f"{root}/components/{name}" for name in components]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(fields))
    return folder


@pytest.fixture(scope="session")
def with_options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    return build(write_kustomization(folder, "gpu", OPTIONS, namespace="kubeflow"))


@pytest.fixture(params=[*ROOTS, "options"])
def objects(request, with_options):
    return with_options if request.param == "options" else build(MANIFESTS / request.param)


@pytest.fixture(params=OVERLAYS)
def overlay(request):
    return build(MANIFESTS / "overlays" / request.param)


def named(objects, kind, name=""):
    (found,) = [o for o in objects if o["kind"] == kind and name in ("", o["metadata"]["name"])]
    return found


def pods_of(manifest):
    """Metadata and spec of each pod that an object describes, however deep."""
    found: list[Any] = [manifest]
    while found:
        here = found.pop()
        if isinstance(here, list):
            found += here
        elif isinstance(here, dict):
            if "containers" in here:
                yield {}, here
            elif "containers" in (here.get("spec") or {}):
                yield here.get("metadata") or {}, here["spec"]
            else:
                found += here.values()


def containers_of(manifest):
    """Each container, also those that start before others."""
    for _, pod in pods_of(manifest):
        yield from (*pod["containers"], *(pod.get("initContainers") or []))


def labelled_pods_of(manifest):
    """Labels and spec of each pod; those of a ServingRuntime's lie beside its spec."""
    for metadata, spec in pods_of(manifest):
        runtime = manifest["kind"] == "ServingRuntime"
        yield manifest["spec"]["labels"] if runtime else metadata["labels"], spec


def variables_of(container):
    """Kind, name and key (`''` for all) of what a container's environment is taken from."""
    kinds = {"configMapRef": "ConfigMap", "configMapKeyRef": "ConfigMap"}
    kinds |= {"secretRef": "Secret", "secretKeyRef": "Secret"}
    several = [variable.get("valueFrom") or {} for variable in container.get("env") or []]
    for source in [*(container.get("envFrom") or []), *several]:
        for field in kinds.keys() & source.keys():
            yield kinds[field], source[field]["name"], source[field].get("key", "")
