from tests.manifests.conftest import MANIFESTS, OVERLAYS
from tests.stand_ins.kept_objects import CRDS, crd_validator, faults_of, plural_of

# CRDs of these groups are not at hand everywhere: kept out of the overlays.
OPERATORS = ("monitoring.coreos.com/", "networking.istio.io/", "security.istio.io/")


def test_every_object_is_valid(objects):
    assert objects
    for manifest in objects:
        if not manifest["apiVersion"].startswith(OPERATORS) or published(manifest):
            assert faults_of(manifest) == [], manifest["metadata"]["name"]


def published(manifest):
    group, _, version = manifest["apiVersion"].rpartition("/")
    return crd_validator(group, version, plural_of(manifest["kind"])) is not None


def test_the_check_is_strict():
    typo = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dat": {}}
    assert "dat" in faults_of(typo)[0]
    service = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime"}
    assert faults_of({**service, "metadata": {"name": "a"}, "spec": {"container": []}})


def test_overlays_use_only_kinds_of_the_required_operators(overlay):
    custom = {path.name.partition("_")[0] for path in CRDS.glob("*.yaml")}
    groups = {o["apiVersion"].rpartition("/")[0] for o in overlay}
    assert {group for group in groups if "." in group and not group.endswith(".k8s.io")} <= custom
    assert set(OVERLAYS) == {path.name for path in (MANIFESTS / "overlays").iterdir()}
    assert not {o["kind"] for o in overlay} & {"Experiment", "TrainJob", "InferenceService"}


def test_names_are_unique_and_in_one_namespace(objects):
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    assert len({o["metadata"].get("namespace") for o in objects} - {None}) <= 1
