"""The TrainJob: training on several nodes or GPUs, as Kubeflow Trainer runs it.

The TrainingRuntime in `manifests/base/training` says what is the same for all of them: volumes,
rights, CPU and memory, and what happens when a pod is preempted. A TrainJob says what is its own:
the command, how many nodes and GPUs, and how long. Trainer 2.3 gives torchrun its addresses through
`PET_*` variables, which a TrainJob must not set itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from components.shared.kubernetes.namespace_objects import (
    COMPONENT_LABEL,
    PART_OF,
    PART_OF_LABEL,
    TRAINING_RUNTIME,
)
from components.shared.kubernetes.pod_settings import gpu_resource, pod_fields
from components.shared.kubernetes.refusals import Resource
from components.shared.machine.errors import UserError

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"

TRAIN_JOBS = Resource(GROUP, VERSION, "trainjobs", "TrainJob", "Kubeflow Trainer")
TRAINING_RUNTIMES = Resource(
    GROUP, VERSION, "trainingruntimes", "TrainingRuntime", "Kubeflow Trainer"
)

PODS = "jobset.sigs.k8s.io/jobset-name={name}"
"""Label selector of a TrainJob's pods: Trainer makes a JobSet of the same name."""

NODE = "node"
"""Name that Trainer asks of the job and of the container that train."""

CPUS_PER_GPU, GIBIBYTES_PER_GPU = 4, 16
"""What a node has beside each GPU: each has a process of its own, and all share /dev/shm."""

LONGEST_NAME = 46
"""Characters. A pod's name is the TrainJob's with `-node-0-`, its number (up to three digits) and
six random characters behind it, and JobSet refuses more than 63."""

_COMMAND = ("python", "-m", "components.training.on_nodes.pod")
_PATCHED_BY = f"{PART_OF}/pipeline"


def training_arguments(
    training_set: str,
    base_model: str,
    output: str,
    options: Mapping[str, Any],
    *,
    checkpoints: str = "",
    facts_file: str = "",
) -> list[str]:
    """The arguments of `python -m components.training`: one `--name=value` for each that is given.

    Paths are those in the pods; the value of an option may be a placeholder of Katib's.
    """
    given: dict[str, Any] = {
        "training-set": training_set,
        "base-model": base_model,
        "output": output,
        "checkpoints": checkpoints,
        "facts-file": facts_file,
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    return [f"--{name}={value}" for name, value in given.items() if value != ""]


def check_scale(nodes: int, gpus_per_node: int) -> None:
    """Raise `UserError` if there would be no node, or a negative number of GPUs."""
    if nodes < 1:
        raise UserError(f"training on {nodes} nodes is not possible; ask for at least 1")
    if gpus_per_node < 0:
        raise UserError(
            f"{gpus_per_node} GPUs per node are not possible; ask for 0 (the CPU) or more"
        )


def train_job_spec(
    arguments: Sequence[str],
    nodes: int,
    gpus_per_node: int,
    *,
    image: str = "",
    deadline_seconds: int = 0,
) -> dict[str, Any]:
    """The spec of a TrainJob, also of one that is a trial of Katib's.

    Each GPU gets a process; a node without any gets one.

    Args:
        arguments: From `training_arguments`.
        nodes: Pods that train together, at least 1.
        gpus_per_node: GPUs of each pod; 0 trains on the CPU.
        image: Image of the pods; the TrainingRuntime's where empty.
        deadline_seconds: After which Trainer ends the job; 0 for none.
    """
    check_scale(nodes, gpus_per_node)
    trainer: dict[str, Any] = {
        "command": list(_COMMAND),
        "args": list(arguments),
        "numNodes": nodes,
        "numProcPerNode": max(1, gpus_per_node),
    }
    if image:
        trainer["image"] = image
    spec: dict[str, Any] = {
        "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": TRAINING_RUNTIME},
        "trainer": trainer,
    }
    if gpus_per_node:
        # In place of the runtime's, which are those of one process on the CPU.
        amounts = {
            "cpu": str(CPUS_PER_GPU * gpus_per_node),
            "memory": f"{GIBIBYTES_PER_GPU * gpus_per_node}Gi",
            gpu_resource(): str(gpus_per_node),
        }
        trainer["resourcesPerNode"] = {"requests": amounts, "limits": dict(amounts)}
    if pods := pod_fields(gpu=gpus_per_node > 0):
        spec["runtimePatches"] = [_for_pods(pods)]
    if deadline_seconds:
        spec["activeDeadlineSeconds"] = deadline_seconds
    return spec


def train_job(name: str, spec: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, Any]:
    """A TrainJob as it is sent to the cluster, of a spec from `train_job_spec`.

    The name is a DNS label of at most `LONGEST_NAME` characters; the job goes when its owner goes.
    """
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": TRAIN_JOBS.kind,
        "metadata": {
            "name": name,
            "labels": {PART_OF_LABEL: PART_OF, COMPONENT_LABEL: "training"},
            "ownerReferences": [dict(owner)],
        },
        "spec": dict(spec),
    }


def _for_pods(pods: Mapping[str, Any]) -> dict[str, Any]:
    """The change to the runtime that lets its pods follow the cluster's settings."""
    job = {"name": NODE, "template": {"spec": {"template": {"spec": dict(pods)}}}}
    return {
        "manager": _PATCHED_BY,
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
    }
