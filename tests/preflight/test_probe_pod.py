"""The probe pods: valid, within Pod Security `restricted`, and like a step where it matters."""

import ast
import subprocess
import sys
from dataclasses import replace

import kubernetes_validate
import pytest

from components.preflight.inside import CHECKS
from components.preflight.probe_pod import pod_manifest
from components.preflight.probes import probes_for
from components.shared.kubernetes import namespace_objects as names
from tests.preflight.healthy_cluster import EXPECTED


def pod_of(probe):
    return pod_manifest(
        probe,
        "review-sentiment-preflight-x",
        config_keys=EXPECTED.config_keys,
        secrets=EXPECTED.secrets,
        deadline_seconds=60,
    )


PODS = {probe.name: pod_of(probe) for probe in probes_for(EXPECTED)}


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_it_is_valid_and_restricted(pod):
    kubernetes_validate.validate(pod, "1.34", strict=True)
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all({"emptyDir", "persistentVolumeClaim"} & set(volume) for volume in spec["volumes"])
    assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_it_ends_by_itself_and_runs_known_checks(pod):
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["activeDeadlineSeconds"] == 60
    assert pod["spec"]["restartPolicy"] == "Never"
    assert container["command"][:2] == ["python", "-c"]
    assert "$(" not in container["command"][2], "Kubernetes would put a variable there"
    assert set(container["command"][3:]) <= set(CHECKS)
    assert pod["metadata"]["labels"][names.COMPONENT_LABEL] == "preflight"


def test_its_program_runs_where_the_project_is_not(tmp_path):
    program = PODS["predictor"]["spec"]["containers"][0]["command"][2]
    imported = {
        name
        for node in ast.parse(program).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else names_of(node))
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names

    command = [sys.executable, "-I", "-S", "-c", program, "storage"]
    environment = {"STATE_DIR": str(tmp_path), "CODE_VERSION": "0123456789abcdef"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    image, storage = ended.stdout.splitlines()
    assert ended.stderr == ""
    assert image == "image=failed it runs as root" or image.endswith(", code 0123456789ab")
    assert storage.startswith(f"storage=ok {tmp_path} is writable")


def names_of(imports):
    return [alias.name for alias in imports.names]


def test_the_probe_of_the_steps_finds_what_a_step_finds():
    spec, (container,) = PODS["steps"]["spec"], PODS["steps"]["spec"]["containers"]
    environment = {one["name"]: one.get("valueFrom") for one in container["env"]}

    assert spec["serviceAccountName"] == names.SERVICE_ACCOUNT
    assert spec["automountServiceAccountToken"]
    assert environment["STATE_DIR"]["configMapKeyRef"]["name"] == names.CONFIG_MAP
    assert environment["PGPASSWORD"] == {
        "secretKeyRef": {"name": names.FEATURE_STORE_SECRET, "key": "PGPASSWORD"}
    }
    assert {"name": "state", "mountPath": "/state"} in container["volumeMounts"]


def test_only_the_probe_of_the_steps_has_a_token():
    tokens = {name: pod["spec"]["automountServiceAccountToken"] for name, pod in PODS.items()}

    assert tokens == {"steps": True, "predictor": False, "training": False}


def test_the_probe_of_the_training_is_placed_on_a_gpu():
    spec = PODS["training"]["spec"]

    assert spec["containers"][0]["resources"]["limits"][names.GPU] == "1"
    assert spec["nodeSelector"] == dict([names.GPU_NODE_LABEL])
    assert spec["tolerations"] == [{"key": names.GPU, "operator": "Exists", "effect": "NoSchedule"}]


def test_without_gpus_there_is_no_probe_of_the_training():
    assert [probe.name for probe in probes_for(replace(EXPECTED, gpus=0))] == ["steps", "predictor"]
