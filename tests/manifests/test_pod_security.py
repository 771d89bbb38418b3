import copy

import pytest

from components.shared.kubernetes.namespace_objects import RUN_AS_USER
from tests.manifests.conftest import MANIFESTS, OVERLAYS, build, named, pods_of

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
VOLUMES |= {"projected", "secret"}
HOST = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def faults_of(pod):
    """Violations of `restricted`, and of our own rules beyond it."""
    faults = [field for field in HOST if pod.get(field)]
    for volume in pod.get("volumes") or []:
        faults += [f"volume {kind}" for kind in set(volume) - {"name"} - VOLUMES]
    whole = pod.get("securityContext") or {}
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        own = container.get("securityContext") or {}
        both = {**whole, **own}
        wanted = {
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser", 0) > 0,
            "seccompProfile": both.get("seccompProfile") == {"type": "RuntimeDefault"},
            "procMount": not own.get("procMount"),
            "hostPort": not any(port.get("hostPort") for port in container.get("ports") or []),
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "/tmp": any(m["mountPath"] == "/tmp" for m in container.get("volumeMounts") or []),
            "cpu and memory": all(
                {"cpu", "memory"} <= set((container.get("resources") or {}).get(field) or {})
                for field in ("requests", "limits")
            ),
        }
        # Writes nothing.
        wanted["/tmp"] |= container["name"] == "folders"
        faults += [f"{container['name']}: {name}" for name, met in wanted.items() if not met]
    return faults


def test_every_pod_is_restricted(objects):
    # KServe merges a ServingRuntime's with what an InferenceService asks for.
    pods = [(f"{o['kind']} {o['metadata']['name']}", pod) for o in objects for _, pod in pods_of(o)]
    assert {name: faults_of(pod) for name, pod in pods if faults_of(pod)} == {}
    for name, pod in pods:
        if "ServingRuntime" not in name:
            assert pod["automountServiceAccountToken"] is False, name
            user = (pod.get("securityContext") or {}).get("runAsUser")
            assert user == (999 if "postgres" in name else RUN_AS_USER), name


def test_every_kind_that_runs_pods_is_covered():
    kinds = {o["kind"] for o in build(MANIFESTS / "overlays" / "gpu") for _ in pods_of(o)}
    assert kinds == {"Deployment", "Job", "ServingRuntime", "StatefulSet", "TrainingRuntime"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pod: pod.update(hostNetwork=True),
        lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"),
        lambda pod: pod["securityContext"].pop("runAsNonRoot"),
        lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        lambda pod: pod.update(initContainers=[{"name": "more"}]),
    ],
)
def test_a_pod_with_more_rights_is_reported(spoil):
    deployment = named(build(MANIFESTS / "overlays" / "gpu"), "Deployment")
    pod = copy.deepcopy(deployment["spec"]["template"]["spec"])
    assert faults_of(pod) == []
    spoil(pod)
    assert faults_of(pod) != []


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_a_namespace_of_our_own_enforces_it_unless_asked_to(name, with_options):
    labels = named(build(MANIFESTS / "overlays" / name), "Namespace")["metadata"]["labels"]
    enforced = "pod-security.kubernetes.io/enforce"
    assert (enforced in labels) == (name == "profile")
    assert named(with_options, "Namespace")["metadata"]["labels"][enforced] == "restricted"
    for mode in ("audit", "warn", *(["enforce"] if name == "profile" else [])):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "latest"
    assert labels["katib.kubeflow.org/metrics-collector-injection"] == "enabled"
    # A profile's own value lets its pods into Kubeflow's namespace; it must not become ours.
    assert labels.get("app.kubernetes.io/part-of") in (None, "kubeflow-profile")
