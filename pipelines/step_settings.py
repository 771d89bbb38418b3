"""What each step asks of a Kubernetes cluster, in one table. On one machine none of it applies."""

from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask

STATE_CLAIM = "review-sentiment-state"
"""PersistentVolumeClaim with the versioned feature files and the training checkpoints."""

STATE_PATH = "/state"
"""Where the claim is mounted in each step."""

CONFIG_MAP = "review-sentiment-config"
"""ConfigMap whose keys reach the steps as environment variables of the same name."""

CONFIG_KEYS: tuple[str, ...] = (
    "MLFLOW_TRACKING_URI",
    "FEATURE_STORE_CONFIG",
    "FEATURE_STORE_DIR",
    "CHECKPOINT_DIR",
    "PROMETHEUS_URL",
)

SECRET = "review-sentiment-feature-store"  # noqa: S105 - the name of a Secret, not a secret
"""Secret with the connection to the feature store's Postgres, taken over by reference."""

SECRET_KEYS: tuple[str, ...] = (
    "PGHOST",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGSSLMODE",
)

RUN_AS_USER = 10001
"""The numeric user of our images."""


@dataclass(frozen=True)
class StepSettings:
    """Resources and rules of one step.

    Attributes:
        cpu: CPU request and limit, in cores.
        memory: Memory request and limit, as a Kubernetes quantity.
        minutes: The pod is ended after this time.
        retries: How often a failed pod is started again. A preempted training resumes from its
            checkpoint, so it may try more often than a step that fails for a reason of its own.
        cached: Whether a result may be reused for the same inputs. Never for a step with side
            effects, and not for ingest, whose input may have changed behind the same URI.
        gpu: Whether the step runs on a GPU node.
    """

    cpu: str
    memory: str
    minutes: int
    retries: int = 2
    cached: bool = True
    gpu: bool = False


SETTINGS: dict[str, StepSettings] = {
    "ingest-reviews": StepSettings("2", "4G", 60, cached=False),
    "prepare-reviews": StepSettings("2", "8G", 60),
    "build-features": StepSettings("4", "8G", 60, cached=False),
    "retrieve-training-set": StepSettings("2", "8G", 30),
    "chosen-hyperparameters": StepSettings("1", "1G", 10),
    "tune-hyperparameters": StepSettings("8", "32G", 24 * 60, retries=4, gpu=True),
    "fine-tune-classifier": StepSettings("8", "32G", 12 * 60, retries=4, gpu=True),
    "fetch-champion": StepSettings("1", "4G", 15, cached=False),
    "fetch-version": StepSettings("1", "4G", 15, cached=False),
    "evaluate-classifier": StepSettings("4", "16G", 120),
    "export-for-serving": StepSettings("4", "16G", 60),
    "compose-report": StepSettings("1", "4G", 15),
    "register-model": StepSettings("1", "4G", 15, cached=False),
    "check-deployment": StepSettings("2", "8G", 15, cached=False),
    "promote-model": StepSettings("1", "2G", 15, cached=False),
    # Killed and started again, a rollout goes on where the InferenceService says it is.
    "roll-out-model": StepSettings("1", "4G", 24 * 60, retries=4, cached=False),
    # Killed and started again, an A/B test takes its sample anew.
    "run-ab-test": StepSettings("1", "4G", 24 * 60, retries=4, cached=False),
    "record-rollout": StepSettings("1", "2G", 15, cached=False),
}


def place(task: PipelineTask) -> PipelineTask:
    """Give a task of a pipeline the settings that the table holds for its component.

    Args:
        task: The task, as the component's call returned it.

    Returns:
        The same task.

    Raises:
        KeyError: If the table has no row for the component.
    """
    settings = SETTINGS[task.component_spec.name]
    task.set_cpu_request(settings.cpu).set_cpu_limit(settings.cpu)
    task.set_memory_request(settings.memory).set_memory_limit(settings.memory)
    task.set_retry(
        settings.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s"
    )
    task.set_caching_options(settings.cached)
    kubernetes.set_timeout(task, settings.minutes * 60)
    kubernetes.set_security_context(
        task, run_as_user=RUN_AS_USER, run_as_group=RUN_AS_USER, run_as_non_root=True
    )
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {key: key for key in CONFIG_KEYS})
    kubernetes.use_secret_as_env(task, SECRET, {key: key for key in SECRET_KEYS})
    kubernetes.mount_pvc(task, STATE_CLAIM, STATE_PATH)
    if settings.gpu:
        # The count is a literal string: from an int pipeline parameter the GPU is dropped silently.
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit("1")
        kubernetes.add_node_selector(task, "nvidia.com/gpu.present", "true")
        kubernetes.add_toleration(
            task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"
        )
        # PyTorch's data loaders share batches through /dev/shm, 64 MiB by default.
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", "4Gi")  # noqa: S108
    return task
