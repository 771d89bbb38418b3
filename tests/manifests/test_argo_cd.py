"""The Argo CD example: its patches on the overlay that it names, as Argo CD applies them."""

import pytest
import yaml

from tests.manifests.conftest import MANIFESTS, build, named, write_kustomization
from tests.manifests.test_schemas import faults_of

MARK = "argocd.argoproj.io"


@pytest.fixture(scope="module")
def application():
    return yaml.safe_load((MANIFESTS / "argo-cd" / "application.yaml").read_text())


@pytest.fixture(scope="module")
def applied(application, tmp_path_factory):
    path, _, overlay = application["spec"]["source"]["path"].rpartition("/")
    assert path == "manifests/overlays"
    folder, patches = tmp_path_factory.mktemp("argo"), application["spec"]["source"]["kustomize"]
    return build(write_kustomization(folder, overlay, **patches))


def test_it_names_the_namespace_of_the_overlay(application, applied):
    wanted = application["spec"]["destination"]["namespace"]
    assert named(applied, "Namespace")["metadata"]["name"] == wanted
    assert {o["kind"]: faults for o in applied if (faults := faults_of(o))} == {}


def test_what_holds_data_is_never_pruned(applied):
    kept = [o for o in applied if o["kind"] in ("Namespace", "PersistentVolumeClaim")]
    assert len(kept) == 3
    for one in kept:
        options = one["metadata"]["annotations"][f"{MARK}/sync-options"]
        assert set(options.split(",")) == {"Prune=false", "Delete=false"}


def test_mlflow_comes_after_postgres_and_a_job_that_deletes_itself_is_a_hook(applied):
    waves = {
        o["kind"]: int(o["metadata"].get("annotations", {}).get(f"{MARK}/sync-wave", 0))
        for o in applied
        if o["kind"] in ("Deployment", "StatefulSet")
    }
    assert waves["StatefulSet"] < waves["Deployment"]
    for job in [o for o in applied if "ttlSecondsAfterFinished" in o.get("spec", {})]:
        annotations = job["metadata"]["annotations"]
        assert annotations[f"{MARK}/hook"] == "Sync"
        assert annotations[f"{MARK}/hook-delete-policy"] == "BeforeHookCreation"
