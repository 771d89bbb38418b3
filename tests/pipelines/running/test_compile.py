import re

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from components.shared.kubernetes import namespace_objects as names
from components.shared.kubernetes.pod_settings import pod_variables
from components.shared.machine import images
from pipelines.running.compile import compile_all
from pipelines.running.step_settings import (
    CLUSTER_KEYS,
    CONFIG_KEYS,
    MLFLOW_LOGIN_KEYS,
    SECRET_KEYS,
    step_settings,
)
from pipelines.training import training_pipeline

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SETTINGS = step_settings()
ROLLOUT_STEPS = {"fetch-version", "roll-out-model", "record-rollout"}
AB_TEST_STEPS = {"fetch-version", "run-ab-test", "record-rollout"}
PREFLIGHT_STEPS = {"check-from-inside", "check-training-image", "start-predictor"}
SEARCH_STEPS = {"open-budget", "find-problem", "try-candidate", "compare-candidates"}
BATCH_STEPS = {"read-unlabelled", "fetch-version", "score-reviews"}
REVIEW_STEPS = {
    *("fetch-version", "select-review-items", "gather-review-votes", "resolve-review-votes"),
}
TRAINING_STEPS = {  # which AutoML does not run
    *("chosen-hyperparameters", "tune-hyperparameters", "fine-tune-classifier", "label-weakly"),
    "add-corrections",
}
MONITORING_STEPS = {"fetch-version", "monitor-answers", "draw-drift-page"}
DECIDING_STEPS = {"decide-retraining", "note-retraining"}
# Of pipelines that train nothing.
OTHER_STEPS = (
    MONITORING_STEPS | ROLLOUT_STEPS | AB_TEST_STEPS | PREFLIGHT_STEPS | BATCH_STEPS | REVIEW_STEPS
) | DECIDING_STEPS
ALL_OF_TRAINING = set(SETTINGS) - OTHER_STEPS - SEARCH_STEPS
ACTING_STEPS = REVIEW_STEPS | ROLLOUT_STEPS | DECIDING_STEPS
STEPS = {
    "training": ALL_OF_TRAINING,
    "loop": (ALL_OF_TRAINING | ACTING_STEPS | MONITORING_STEPS) - {"draw-drift-page"},
    "automl": set(SETTINGS) - OTHER_STEPS - TRAINING_STEPS,
    "approval": {"fetch-version", "check-deployment", "promote-model"},
    "rollout": ROLLOUT_STEPS,
    "ab-test": AB_TEST_STEPS,
    "batch": BATCH_STEPS,
    "monitoring": MONITORING_STEPS,
    "preflight": PREFLIGHT_STEPS,
    "review": REVIEW_STEPS,
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    made = compile_all(tmp_path_factory.mktemp("build"))
    return {path.stem: tuple(yaml.load_all(path.read_text(), Loader=LOADER)) for path in made}


def executors(spec):
    return {
        # Used by several pipelines within one, a component gets a number from KFP.
        re.sub(r"-\d+$", "", name.removeprefix("exec-")): executor["container"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }


def tasks(spec):
    """Every task of the root and of the condition branches, by the component's name."""
    groups = [spec["root"], *spec["components"].values()]
    return {
        task["componentRef"]["name"].removeprefix("comp-"): task
        for group in groups
        for task in group.get("dag", {}).get("tasks", {}).values()
    }


CASES = [(kind, name, SETTINGS[name]) for kind, steps in STEPS.items() for name in sorted(steps)]


def test_every_step_is_there_and_no_other(compiled):
    assert {kind: set(executors(spec)) for kind, (spec, _) in compiled.items()} == STEPS


@pytest.mark.parametrize(("pipeline", "step", "settings"), CASES)
def test_task_and_pod_of_a_step(compiled, pipeline, step, settings):
    container = executors(compiled[pipeline][0])[step]
    image = images.predictor_image() if step == "start-predictor" else images.step_image()
    assert container["image"] == (images.training_image(1) if settings.gpu else image)
    assert "pip install" not in " ".join(container["command"])
    resources = container["resources"]
    assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"] == settings.cpu
    assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"] == settings.memory
    given = {pair["name"]: pair["value"] for pair in container.get("env", [])}
    handed_on = images.image_variables() | pod_variables()
    assert given == (handed_on if settings.launches else {})
    accelerator = {"resourceType": "nvidia.com/gpu", "resourceCount": "1"} if settings.gpu else {}
    assert accelerator.items() <= resources.get("accelerator", {}).items()
    assert ("accelerator" in resources) == settings.gpu
    task = tasks(compiled[pipeline][0])[step]
    assert task["cachingOptions"].get("enableCache", False) == settings.cached
    assert task["retryPolicy"].get("maxRetryCount", 0) == settings.retries
    platform = compiled[pipeline][1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    pod = platform[f"exec-{step}"]
    assert int(pod["activeDeadlineSeconds"]) == settings.minutes * 60
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert int(pod["securityContext"]["runAsUser"]) > 0
    assert pod["pvcMount"][0]["constant"] == names.STATE_CLAIM
    assert pod["pvcMount"][0]["mountPath"] == names.STATE_PATH
    config, cluster = pod["configMapAsEnv"]
    assert config["configMapName"] == names.CONFIG_MAP
    assert {pair["envVar"] for pair in config["keyToEnv"]} == set(CONFIG_KEYS)
    assert (cluster["configMapName"], cluster["optional"]) == (names.CLUSTER_CONFIG_MAP, True)
    assert {pair["envVar"] for pair in cluster["keyToEnv"]} == set(CLUSTER_KEYS)
    (authorities,) = pod["configMapAsVolume"]
    assert (authorities["configMapName"], authorities["optional"]) == (names.CA_CONFIG_MAP, True)
    assert authorities["mountPath"] == names.CA_PATH
    signing = [(one["secretName"], one["optional"]) for one in pod.get("secretAsVolume", [])]
    assert signing == ([(names.SIGNING_SECRET, True)] if step == "register-model" else [])
    *review, store, data, login = pod["secretAsEnv"]
    asked = [(one["secretName"], one["optional"]) for one in review]
    assert asked == ([(names.REVIEW_SECRET, True)] if settings.asks_reviewers else [])
    assert (login["secretName"], login["optional"]) == (names.MLFLOW_LOGIN_SECRET, True)
    assert {pair["envVar"] for pair in login["keyToEnv"]} == set(MLFLOW_LOGIN_KEYS)
    assert store["secretName"] == names.FEATURE_STORE_SECRET
    assert not store.get("optional", False)
    assert {pair["envVar"] for pair in store["keyToEnv"]} == set(SECRET_KEYS)
    assert (data["secretName"], data["optional"]) == (names.DATA_SECRET, True)
    labels = {names.PART_OF_LABEL: names.PART_OF, names.COMPONENT_LABEL: "pipeline-step"}
    assert pod["podMetadata"]["labels"] == labels
    if settings.gpu:
        assert pod["nodeSelector"]["labels"] == {"nvidia.com/gpu.present": "true"}
        toleration = pod["tolerations"][0]
        assert (toleration["key"], toleration["operator"]) == ("nvidia.com/gpu", "Exists")
        memory = pod["emptyDirMounts"][0]
        assert (memory["mountPath"], memory["medium"]) == ("/dev/shm", "Memory")
    else:
        assert not {"nodeSelector", "emptyDirMounts"} & set(pod)


def test_only_steps_without_side_effects_are_cached():
    """Ingest is not: its input may have changed behind the same URI."""
    assert {step for step, settings in SETTINGS.items() if not settings.cached} == {
        *("ingest-reviews", "build-features", "retrieve-training-set", "add-corrections"),
        *("fetch-champion", "fetch-version"),
        *("register-model", "check-deployment", "promote-model", "report-corrections"),
        *("open-budget", "find-problem", "try-candidate", "read-unlabelled"),
        *(MONITORING_STEPS | ROLLOUT_STEPS | AB_TEST_STEPS | PREFLIGHT_STEPS | REVIEW_STEPS),
        *DECIDING_STEPS,
    }


def test_registering_stands_behind_all_conditions(compiled):
    spec = compiled["training"][0]
    conditions = [
        re.sub(r"inputs.parameter_values\['pipelinechannel--(\w+)'\]", r"\1", policy["condition"])
        for component in spec["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if (policy := task.get("triggerPolicy"))
    ]
    for one in (
        *("accuracy >= accuracy_threshold", "macro_f1 >= macro_f1_threshold"),
        *("not_worse_than_champion == 'yes'", "within_bias_limit == 'yes'"),
        "approval == 'auto'",
    ):
        assert one in conditions
    root_tasks = set(spec["root"]["dag"]["tasks"])
    assert not {"register-model", "check-deployment", "promote-model"} & root_tasks


@pytest.mark.parametrize(
    ("pipeline", "step"), [("rollout", "roll-out-model"), ("ab-test", "run-ab-test")]
)
def test_the_registry_is_reported_what_came_of_it(compiled, pipeline, step):
    """Decision, reason and stable version go on, and only an approved version is tried."""
    found = tasks(compiled[pipeline][0])
    inputs = found["record-rollout"]["inputs"]["parameters"]
    for name in ("decision", "reason", "stable_version"):
        origin = {"outputParameterKey": name, "producerTask": step}
        assert inputs[name]["taskOutputParameter"] == origin
    fetched = found["fetch-version"]["inputs"]["parameters"]
    assert fetched["approved_only"]["runtimeValue"]["constant"] is True


@pytest.mark.parametrize(
    ("nodes", "gpus"), [("1", "0"), ("1", "2"), ("4", "8")], ids=["cpu", "gpus", "nodes"]
)
def test_scale_and_images_are_those_of_the_moment(monkeypatch, nodes, gpus):
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
