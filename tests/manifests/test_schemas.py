from functools import cache

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.manifests.conftest import MANIFESTS, OVERLAYS
from tests.stand_ins.kept_objects import CRDS, strict

KUBERNETES = "1.36"

# CRDs of these groups are not at hand: kept out of the overlays.
OPERATORS = {"monitoring.coreos.com"}


@cache
def schemas():
    if not CRDS.is_dir():
        pytest.skip(f"the published CRDs are not at {CRDS} (set CRDS_DIR)")
    found = {}
    for path in CRDS.glob("*.yaml"):
        crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for version in crd["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # The API server knows metadata by itself.
            schema.setdefault("properties", {})["metadata"] = {"type": "object"}
            kind = crd["spec"]["group"], version["name"], crd["spec"]["names"]["kind"]
            found[kind] = schema
    return found


def faults_of(manifest):
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = group, version, manifest["kind"]
    if group in OPERATORS:
        return []
    if kind in schemas():
        faults = Draft202012Validator(schemas()[kind]).iter_errors(manifest)
        return [f"{fault.json_path}: {fault.message}" for fault in faults]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as fault:
        return [f"{list(fault.path)}: {fault.message}"]
    return []


def test_every_object_is_valid(objects):
    assert objects
    found = {f"{o['kind']} {o['metadata']['name']}": faults_of(o) for o in objects}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_check_is_strict():
    typo = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dat": {}}
    assert "dat" in faults_of(typo)[0]
    service = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime"}
    assert faults_of({**service, "metadata": {"name": "a"}, "spec": {"container": []}})


def test_overlays_use_only_kinds_of_the_required_operators(overlay):
    custom = {group for group, _, _ in schemas()}
    groups = {o["apiVersion"].rpartition("/")[0] for o in overlay}
    assert {group for group in groups if "." in group and not group.endswith(".k8s.io")} <= custom
    assert set(OVERLAYS) == {path.name for path in (MANIFESTS / "overlays").iterdir()}
    assert not {o["kind"] for o in overlay} & {"Experiment", "TrainJob", "InferenceService"}


def test_names_are_unique_and_in_one_namespace(objects):
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    assert len({o["metadata"].get("namespace") for o in objects} - {None}) <= 1
