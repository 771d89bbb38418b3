"""What each step asks of a Kubernetes cluster, in one table. On one machine none of it applies.

`TRAINING_NODES` and `TRAINING_GPUS` (of each node) are read when a pipeline is compiled. With one
node and at most one GPU the training step computes in its own pod; otherwise it launches a TrainJob
and waits. Tuning's trials have the same size.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import kubernetes
from kfp.dsl import PipelineTask

from components.shared.kubernetes import namespace_objects as names
from components.shared.kubernetes.pod_settings import gpu_resource, pod_fields, pod_variables
from components.shared.machine.errors import UserError
from components.shared.machine.images import image_variables, step_image, training_image
from components.training.options import is_one_process

CONFIG_KEYS: tuple[str, ...] = (
    *("MLFLOW_TRACKING_URI", "FEATURE_STORE_CONFIG", "FEATURE_STORE_DIR", "CHECKPOINT_DIR"),
    *("CATALOGUE_URI", "CATALOGUE_WAREHOUSE"),
    *("STATE_DIR", "HF_HOME", "TUNING_BACKEND", "PROMETHEUS_URL"),
)
"""Keys of the ConfigMap that reach each step as environment variables of the same name."""

CLUSTER_KEYS: tuple[str, ...] = (
    *("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"),
    *("SIGNING_KEY", "SIGNATURE_KEY", "MODEL_LICENSE", "MODEL_LANGUAGE", "PUSHGATEWAY_URL"),
)
"""Keys of the cluster's own ConfigMap (`manifests/cluster`) that do so where it has them."""

SECRET_KEYS = ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE")
"""Keys of the feature store's Secret that do so too, by reference."""

MLFLOW_LOGIN_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Keys of the Secret with the login at MLflow, where it asks for one."""

REVIEW_KEYS = ("LABEL_STUDIO_URL", "LABEL_STUDIO_TOKEN")
"""Keys of the review service's Secret that reach the steps which ask it."""

DATA_SECRET_KEYS: tuple[str, ...] = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"),
    *("AWS_DEFAULT_REGION", "HF_TOKEN"),
)
"""Keys of the data's Secret; those that it has. Without one, the service account's own
identity (of the cloud) has to do."""


@dataclass(frozen=True)
class StepSettings:
    """Resources (request and limit alike, as Kubernetes quantities) and rules of one step.

    Attributes:
        minutes: The pod is ended after this time.
        retries: How often a failed pod is started again. A preempted training resumes from its
            checkpoint, so it may try more often than a step that fails for a reason of its own.
        cached: Whether a result may be reused for the same inputs. Never for a step with side
            effects, and not for ingest, whose input may have changed behind the same URI.
        launches: Whether the step starts pods of its own, in our images.
        asks_reviewers: Whether it is given address and token of the review service.
    """

    cpu: str
    memory: str
    minutes: int
    retries: int = 2
    cached: bool = True
    gpu: bool = False
    launches: bool = False
    asks_reviewers: bool = False


@dataclass(frozen=True)
class TrainingScale:
    """How many pods train together, with how many GPUs each; 0 trains on the CPU."""

    nodes: int = 1
    gpus_per_node: int = 1

    @property
    def in_own_pod(self) -> bool:
        """Whether one process is enough, which then is the step itself."""
        return is_one_process(self.nodes, self.gpus_per_node)


def scale_of_environment() -> TrainingScale:
    """What `TRAINING_NODES` and `TRAINING_GPUS` ask for; `UserError` if not numbers, or no node."""
    return TrainingScale(_number("TRAINING_NODES", 1), _number("TRAINING_GPUS", 0))


def _number(variable: str, least: int) -> int:
    text = os.environ.get(variable) or "1"
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{variable} is {text!r}; set it to a whole number from {least} up")
    return int(text)


_LAUNCHES = StepSettings("1", "2G", 24 * 60, launches=True)
"""A step that launches and waits; killed and started again, it adopts what it launched."""

# Several times what 20,000 reviews and the packaged base model take on one machine: room for more
# of them, and for a larger model.
_SETTINGS: dict[str, StepSettings] = {
    "ingest-reviews": StepSettings("1", "2G", 60, cached=False),
    "read-unlabelled": StepSettings("1", "2G", 4 * 60, cached=False),
    # Killed and started again, scoring goes on with the shards that are left.
    "score-reviews": StepSettings("2", "4G", 24 * 60, retries=4, launches=True),
    "prepare-reviews": StepSettings("1", "2G", 60),
    "label-weakly": StepSettings("2", "4G", 60),
    "find-label-noise": StepSettings("2", "4G", 60),
    "explore-reviews": StepSettings("1", "4G", 60),
    "browse-reviews": StepSettings("1", "4G", 30),
    "build-features": StepSettings("2", "4G", 60, cached=False),
    # What it reads goes by the clock and by what people said since.
    "retrieve-training-set": StepSettings("1", "4G", 30, cached=False),
    "add-corrections": StepSettings("1", "4G", 30, cached=False),
    "chosen-hyperparameters": StepSettings("1", "1G", 10),
    "tune-hyperparameters": _LAUNCHES,
    "open-budget": StepSettings("1", "1G", 10, cached=False),
    "find-problem": StepSettings("1", "2G", 30, cached=False),
    "compare-candidates": StepSettings("1", "4G", 30),
    "fetch-champion": StepSettings("1", "2G", 15, cached=False),
    "fetch-version": StepSettings("1", "2G", 15, cached=False),
    "explain-model": StepSettings("2", "6G", 60),
    "evaluate-classifier": StepSettings("2", "6G", 120),
    "measure-bias": StepSettings("1", "2G", 30),
    "export-for-serving": StepSettings("2", "6G", 60),
    "compose-report": StepSettings("1", "2G", 15),
    "register-model": StepSettings("1", "2G", 15, cached=False),
    "check-deployment": StepSettings("2", "4G", 15, cached=False),
    "decide-retraining": StepSettings("1", "1G", 15, cached=False),
    "note-retraining": StepSettings("1", "1G", 15, cached=False),
    "promote-model": StepSettings("1", "2G", 15, cached=False),
    # Killed and started again, a rollout goes on where the InferenceService says it is.
    "roll-out-model": StepSettings("1", "4G", 24 * 60, retries=4, cached=False),
    # Killed and started again, an A/B test takes its sample anew.
    "run-ab-test": StepSettings("1", "4G", 24 * 60, retries=4, cached=False),
    "record-rollout": StepSettings("1", "2G", 15, cached=False),
    "select-review-items": StepSettings("1", "4G", 30, cached=False),
    # Killed and started again, it goes on where the service and the journal say it is.
    "gather-review-votes": StepSettings(
        "1", "2G", 24 * 60, retries=4, cached=False, asks_reviewers=True
    ),
    "resolve-review-votes": StepSettings("1", "4G", 30, cached=False),
    "report-corrections": StepSettings("1", "4G", 30, cached=False),
    "monitor-answers": StepSettings("1", "4G", 30, cached=False),
    "draw-drift-page": StepSettings("1", "4G", 30, cached=False),
    "check-from-inside": StepSettings("1", "1G", 10, retries=0, cached=False),
    "check-training-image": StepSettings("1", "4G", 10, retries=0, cached=False, gpu=True),
    "start-predictor": StepSettings("1", "1G", 10, retries=0, cached=False),
}


def step_settings() -> dict[str, StepSettings]:
    """Settings by the name of the component; those of the training go by its scale."""
    scale = scale_of_environment()
    if not scale.in_own_pod:
        trains = _LAUNCHES
    elif scale.gpus_per_node:
        trains = StepSettings("4", "16G", 12 * 60, retries=4, gpu=True)
    else:
        trains = StepSettings("2", "8G", 24 * 60, retries=4)
    # A candidate of a search is trained in the pod of its step, at any scale.
    gpu = scale.gpus_per_node > 0
    tries = StepSettings(
        "4" if gpu else "2", "16G" if gpu else "8G", 24 * 60, gpu=gpu, cached=False
    )
    return {**_SETTINGS, "fine-tune-classifier": trains, "try-candidate": tries}


def place(task: PipelineTask) -> PipelineTask:
    """Give a task of a pipeline the settings that the table holds for its component."""
    name = task.component_spec.name
    settings = step_settings().get(name)
    if settings is None:
        raise UserError(
            f"step {name} has no line in {Path(__file__).name}; add its CPU, memory and minutes "
            f'there: {name!r}: StepSettings("1", "2G", 15)'
        )
    task.set_cpu_request(settings.cpu).set_cpu_limit(settings.cpu)
    task.set_memory_request(settings.memory).set_memory_limit(settings.memory)
    task.set_retry(
        settings.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s"
    )
    task.set_caching_options(settings.cached)
    kubernetes.set_timeout(task, settings.minutes * 60)
    kubernetes.set_security_context(
        task, run_as_user=names.RUN_AS_USER, run_as_group=names.RUN_AS_USER, run_as_non_root=True
    )
    kubernetes.use_config_map_as_env(task, names.CONFIG_MAP, {key: key for key in CONFIG_KEYS})
    kubernetes.use_config_map_as_env(
        task, names.CLUSTER_CONFIG_MAP, {key: key for key in CLUSTER_KEYS}, optional=True
    )
    kubernetes.use_config_map_as_volume(task, names.CA_CONFIG_MAP, names.CA_PATH, optional=True)
    if task.component_spec.name == "register-model":
        kubernetes.use_secret_as_volume(
            task, names.SIGNING_SECRET, names.SIGNING_PATH, optional=True
        )
    if settings.asks_reviewers:
        kubernetes.use_secret_as_env(
            task, names.REVIEW_SECRET, {key: key for key in REVIEW_KEYS}, optional=True
        )
    kubernetes.use_secret_as_env(
        task, names.FEATURE_STORE_SECRET, {key: key for key in SECRET_KEYS}
    )
    kubernetes.use_secret_as_env(
        task, names.DATA_SECRET, {key: key for key in DATA_SECRET_KEYS}, optional=True
    )
    kubernetes.use_secret_as_env(
        task, names.MLFLOW_LOGIN_SECRET, {key: key for key in MLFLOW_LOGIN_KEYS}, optional=True
    )
    kubernetes.mount_pvc(task, names.STATE_CLAIM, names.STATE_PATH)
    kubernetes.add_pod_label(task, names.PART_OF_LABEL, names.PART_OF)
    kubernetes.add_pod_label(task, names.COMPONENT_LABEL, "pipeline-step")
    if settings.launches:
        for name, value in (image_variables() | pod_variables()).items():
            task.set_env_variable(name, value)
    _follow_cluster(task, pod_fields(gpu=settings.gpu))
    task.set_container_image(training_image(1) if settings.gpu else step_image())
    if settings.gpu:
        # The count is a literal string: from an int pipeline parameter the GPU is dropped silently.
        task.set_accelerator_type(gpu_resource()).set_accelerator_limit("1")
        # PyTorch's data loaders share batches through /dev/shm, 64 MiB by default.
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", "4Gi")  # noqa: S108
    return task


def _follow_cluster(task: PipelineTask, fields: Mapping[str, Any]) -> None:
    """Give a task's pod the login, nodes and tolerations of the cluster's settings."""
    if secrets := fields.get("imagePullSecrets"):
        kubernetes.set_image_pull_secrets(task, [secret["name"] for secret in secrets])
    for label, value in fields.get("nodeSelector", {}).items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in fields.get("tolerations", []):
        known = {name: toleration.get(name) for name in ("key", "operator", "value", "effect")}
        seconds = toleration.get("tolerationSeconds")
        kubernetes.add_toleration(task, **known, toleration_seconds=seconds)
