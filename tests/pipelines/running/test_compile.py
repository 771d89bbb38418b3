"""The compiled pipelines, field by field: what Kubeflow will really be asked for."""

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from components.shared.kubernetes.namespace_objects import (
    COMPONENT_LABEL,
    CONFIG_MAP,
    DATA_SECRET,
    FEATURE_STORE_SECRET,
    PART_OF,
    PART_OF_LABEL,
    STATE_CLAIM,
    STATE_PATH,
)
from components.shared.machine.images import (
    image_variables,
    predictor_image,
    step_image,
    training_image,
)
from pipelines.running.compile import compile_all
from pipelines.running.step_settings import CONFIG_KEYS, SECRET_KEYS, step_settings
from pipelines.training import training_pipeline

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SETTINGS = step_settings()
ROLLOUT_STEPS = {"fetch-version", "roll-out-model", "record-rollout"}
AB_TEST_STEPS = {"fetch-version", "run-ab-test", "record-rollout"}
PREFLIGHT_STEPS = {"check-from-inside", "check-training-image", "start-predictor"}
STEPS = {
    "training": set(SETTINGS) - ROLLOUT_STEPS - AB_TEST_STEPS - PREFLIGHT_STEPS,
    "approval": {"fetch-version", "check-deployment", "promote-model"},
    "rollout": ROLLOUT_STEPS,
    "ab-test": AB_TEST_STEPS,
    "preflight": PREFLIGHT_STEPS,
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict, dict]]:
    """Pipeline spec and platform spec of each pipeline, by name."""
    folder = tmp_path_factory.mktemp("build")
    documents = {}
    for path in compile_all(folder):
        spec, platform = yaml.load_all(
            path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        documents[path.stem] = (spec, platform)
    return documents


def executors(spec: dict) -> dict[str, dict]:
    """Container of each step, by the component's name."""
    return {
        name.removeprefix("exec-"): executor["container"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }


def tasks(spec: dict) -> dict[str, dict]:
    """Every task of the root and of the condition branches, by the component's name."""
    groups = [spec["root"], *spec["components"].values()]
    return {
        task["componentRef"]["name"].removeprefix("comp-"): task
        for group in groups
        for task in group.get("dag", {}).get("tasks", {}).values()
    }


CASES = [(kind, name, SETTINGS[name]) for kind, steps in STEPS.items() for name in sorted(steps)]


def test_every_step_is_there_and_no_other(compiled) -> None:
    assert {kind: set(executors(spec)) for kind, (spec, _) in compiled.items()} == STEPS


@pytest.mark.parametrize(("pipeline", "step", "settings"), CASES)
def test_container_of_a_step(compiled, pipeline, step, settings) -> None:
    container = executors(compiled[pipeline][0])[step]
    image = predictor_image() if step == "start-predictor" else step_image()
    assert container["image"] == (training_image(1) if settings.gpu else image)
    assert "pip install" not in " ".join(container["command"])
    resources = container["resources"]
    assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"] == settings.cpu
    assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"] == settings.memory
    given = {pair["name"]: pair["value"] for pair in container.get("env", [])}
    assert given == (image_variables() if settings.launches else {})
    accelerator = resources.get("accelerator")
    if settings.gpu:
        assert accelerator["resourceType"] == "nvidia.com/gpu"
        assert accelerator["resourceCount"] == "1"
    else:
        assert accelerator is None

    task = tasks(compiled[pipeline][0])[step]
    assert task["cachingOptions"].get("enableCache", False) == settings.cached
    assert task["retryPolicy"].get("maxRetryCount", 0) == settings.retries


@pytest.mark.parametrize(("pipeline", "step", "settings"), CASES)
def test_pod_of_a_step(compiled, pipeline, step, settings) -> None:
    platform = compiled[pipeline][1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    pod = platform[f"exec-{step}"]
    assert int(pod["activeDeadlineSeconds"]) == settings.minutes * 60
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert int(pod["securityContext"]["runAsUser"]) > 0
    assert pod["pvcMount"][0]["constant"] == STATE_CLAIM
    assert pod["pvcMount"][0]["mountPath"] == STATE_PATH
    config = pod["configMapAsEnv"][0]
    assert config["configMapName"] == CONFIG_MAP
    assert {pair["envVar"] for pair in config["keyToEnv"]} == set(CONFIG_KEYS)
    store, data = pod["secretAsEnv"]
    assert (store["secretName"], store.get("optional", False)) == (FEATURE_STORE_SECRET, False)
    assert {pair["envVar"] for pair in store["keyToEnv"]} == set(SECRET_KEYS)
    assert (data["secretName"], data["optional"]) == (DATA_SECRET, True)
    labels = pod["podMetadata"]["labels"]
    assert labels == {PART_OF_LABEL: PART_OF, COMPONENT_LABEL: "pipeline-step"}
    if settings.gpu:
        assert pod["nodeSelector"]["labels"] == {"nvidia.com/gpu.present": "true"}
        toleration = pod["tolerations"][0]
        assert (toleration["key"], toleration["operator"]) == ("nvidia.com/gpu", "Exists")
        memory = pod["emptyDirMounts"][0]
        assert (memory["mountPath"], memory["medium"]) == ("/dev/shm", "Memory")
    else:
        assert "nodeSelector" not in pod
        assert "emptyDirMounts" not in pod


def test_only_steps_without_side_effects_are_cached() -> None:
    """Ingest is not: its input may have changed behind the same URI."""
    assert {step for step, settings in SETTINGS.items() if settings.cached} == {
        *("prepare-reviews", "retrieve-training-set", "chosen-hyperparameters"),
        *("tune-hyperparameters", "fine-tune-classifier", "evaluate-classifier"),
        *("export-for-serving", "compose-report"),
    }


def test_registering_stands_behind_all_three_conditions(compiled) -> None:
    spec = compiled["training"][0]
    conditions = [
        task["triggerPolicy"]["condition"]
        for component in spec["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "triggerPolicy" in task
    ]
    for name in ("accuracy", "macro_f1"):
        held = f"inputs.parameter_values['pipelinechannel--{name}']"
        least = f"inputs.parameter_values['pipelinechannel--{name}_threshold']"
        assert f"{held} >= {least}" in conditions
    assert (
        "inputs.parameter_values['pipelinechannel--not_worse_than_champion'] == 'yes'" in conditions
    )
    assert "inputs.parameter_values['pipelinechannel--approval'] == 'auto'" in conditions
    root_tasks = set(spec["root"]["dag"]["tasks"])
    assert not {"register-model", "check-deployment", "promote-model"} & root_tasks


@pytest.mark.parametrize(
    ("pipeline", "step"), [("rollout", "roll-out-model"), ("ab-test", "run-ab-test")]
)
def test_the_registry_is_reported_what_came_of_it(compiled, pipeline, step) -> None:
    """Decision, reason and stable version go on, and only an approved version is tried."""
    found = tasks(compiled[pipeline][0])
    inputs = found["record-rollout"]["inputs"]["parameters"]
    for name in ("decision", "reason", "stable_version"):
        assert inputs[name]["taskOutputParameter"] == {
            "outputParameterKey": name,
            "producerTask": step,
        }
    fetched = found["fetch-version"]["inputs"]["parameters"]
    assert fetched["approved_only"]["runtimeValue"]["constant"] is True


@pytest.mark.parametrize(
    ("nodes", "gpus"), [("1", "0"), ("1", "2"), ("4", "8")], ids=["cpu", "gpus", "nodes"]
)
def test_scale_and_images_are_those_of_the_moment(monkeypatch, nodes, gpus) -> None:
    """Without a GPU of its own, the step is placed as any other, and knows what to launch."""
    monkeypatch.setenv("TRAINING_NODES", nodes)
    monkeypatch.setenv("TRAINING_GPUS", gpus)
    monkeypatch.setenv("IMAGE_REGISTRY", "registry.local/team")
    traced = training_pipeline.trace()
    spec, platform = MessageToDict(traced.pipeline_spec), MessageToDict(traced.platform_spec)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {c["image"] for c in executors(spec).values()} == {"registry.local/team/steps:0.1.0"}
    assert "accelerator" not in executors(spec)["fine-tune-classifier"]["resources"]
    assert "nodeSelector" not in pods["exec-fine-tune-classifier"]
    for step in ("fine-tune-classifier", "tune-hyperparameters"):
        given = tasks(spec)[step]["inputs"]["parameters"]
        assert given["nodes"]["runtimeValue"]["constant"] == float(nodes)
        assert given["gpus_per_node"]["runtimeValue"]["constant"] == float(gpus)
