"""The Experiment that a search submits, made of the manifest that describes it."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.kubernetes.namespace_objects import (
    COMPONENT_LABEL,
    GPU,
    GPU_NODE_LABEL,
    PART_OF,
    PART_OF_LABEL,
)
from components.shared.kubernetes.refusals import Resource
from components.shared.machine.errors import UserError
from components.shared.machine.images import training_image
from components.training.on_nodes.train_job import (
    NODE,
    is_one_process,
    train_job_spec,
    training_arguments,
)
from components.training.tuning.experiment import read_experiment, read_search_space
from components.training.tuning.katib.rules import misshapen

EXPERIMENTS = Resource("kubeflow.org", "v1beta1", "experiments", "Experiment", "Katib")

TRIALS_OF = "katib.kubeflow.org/experiment={name}"
"""Label selector of an Experiment's trials."""

PODS = TRIALS_OF + ",katib.kubeflow.org/trial"
"""Label selector of the pods of an Experiment's trials; without the second label there would be
that of the search algorithm, which runs all the time."""

MODEL_FOLDER = "/tmp/model"  # noqa: S108 - in a volume of the trial's pod alone
"""Where a trial writes the model that nobody takes."""


_AMOUNTS = {"requests": {GPU: {}}, "limits": {GPU: {}}}
_POD = {
    "nodeSelector": {GPU_NODE_LABEL[0]: {}},
    "tolerations": [{"key": {}}],
    "containers": [{"name": {}, "resources": _AMOUNTS}],
}
_JOB = {"spec": {"template": {"spec": _POD}}}
"""What is read of a Job, in the form of `rules.FIELDS`."""


def experiment_manifest(
    source: str | Path,
    name: str,
    owner: Mapping[str, Any],
    *,
    training_set: str,
    base_model: str,
    options: Mapping[str, Any],
    trials: int,
    nodes: int = 1,
    gpus_per_node: int = 1,
    early_stopping: bool = True,
) -> dict[str, Any]:
    """The Experiment of one search.

    The search space, the algorithm and the trials' pod are the manifest's. What a run decides is
    put in: the name, the number of trials, the data, the base model, the training options that are
    not searched, the image and the scale. A trial is a Job on one node with at most one GPU, a
    TrainJob otherwise.

    Args:
        source: Katib Experiment manifest.
        name: Of the Experiment, at most 40 characters.
        owner: ownerReference; the Experiment goes when that goes.
        training_set: Path in the trials' pods.
        base_model: What fine-tuning starts from.
        options: All training options by name.
        trials: How many to run. Where the manifest runs more side by side, or bears more failures,
            than that, it is as many.
        nodes: Pods that train together in a trial.
        gpus_per_node: Of each; 0 trains on the CPU.
        early_stopping: Whether the manifest's early stopping applies.

    Returns:
        The object, JSON-ready.

    Raises:
        UserError: If the manifest is none, or its trial is no Job with the container that it names
            as the primary one.
    """
    manifest = copy.deepcopy(read_experiment(source))
    space = read_search_space(source)
    metadata = manifest.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    manifest["metadata"] = {
        "name": name,
        # Katib gives them to the pods of the search algorithm and of the trials as well, so that
        # none here may say which of ours a pod is.
        "labels": {
            **(labels if isinstance(labels, Mapping) else {}),
            PART_OF_LABEL: PART_OF,
        },
        "ownerReferences": [dict(owner)],
    }
    spec = manifest["spec"]
    spec["maxTrialCount"] = trials
    for count in ("parallelTrialCount", "maxFailedTrialCount"):
        if isinstance(spec.get(count), int):
            spec[count] = min(spec[count], trials)
    if space.random_state is None:
        setting = {"name": "random_state", "value": str(options["seed"])}
        algorithm = spec["algorithm"]
        algorithm["algorithmSettings"] = [*(algorithm.get("algorithmSettings") or []), setting]
    # A rule stops the first node of several only; the others would start again without it.
    if not early_stopping or nodes > 1:
        spec.pop("earlyStopping", None)
    searched = {one.name: f"${{trialParameters.{one.name}}}" for one in space.parameters}
    arguments = training_arguments(training_set, base_model, MODEL_FOLDER, {**options, **searched})
    template = spec.get("trialTemplate") or {}
    job, container = _job_of(template, source)
    if not is_one_process(nodes, gpus_per_node):
        template["primaryContainerName"] = NODE
        template["trialSpec"] = _train_job(
            job, arguments, nodes, gpus_per_node, training_image(gpus_per_node)
        )
        return manifest
    container["args"] = arguments
    container["image"] = training_image(gpus_per_node)
    if not gpus_per_node:
        _without_gpus(job, container)
    return manifest


def _job_of(template: dict[str, Any], source: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest's Job and its primary container."""
    job, primary = template.get("trialSpec"), template.get("primaryContainerName")
    if not isinstance(job, dict) or (job.get("apiVersion"), job.get("kind")) != ("batch/v1", "Job"):
        raise UserError(
            f"{source}: spec.trialTemplate.trialSpec is no Job of batch/v1; write one, from which "
            "a TrainJob is made where trials have several nodes or GPUs"
        )
    for fault in misshapen(job, _JOB, "spec.trialTemplate.trialSpec"):
        raise UserError(f"{source}: {fault}")
    try:
        pod = job["spec"]["template"]["spec"]
        return job, next(one for one in pod["containers"] if one["name"] == primary)
    except (KeyError, TypeError, StopIteration):
        raise UserError(
            f"{source}: the pod in spec.trialTemplate.trialSpec has no container named {primary}, "
            "which spec.trialTemplate.primaryContainerName names; name one"
        ) from None


def _train_job(
    job: Mapping[str, Any], arguments: list[str], nodes: int, gpus_per_node: int, image: str
) -> dict[str, Any]:
    """The TrainJob that does what the Job does, on several nodes or GPUs."""
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"labels": {PART_OF_LABEL: PART_OF, COMPONENT_LABEL: "trial"}},
        "spec": train_job_spec(
            arguments,
            nodes,
            gpus_per_node,
            image=image,
            deadline_seconds=job["spec"].get("activeDeadlineSeconds", 0),
        ),
    }


def _without_gpus(job: Mapping[str, Any], container: Mapping[str, Any]) -> None:
    """Take from a Job what asks for a GPU or for the nodes that have them."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        (resources.get(kind) or {}).pop(GPU, None)
    pod = job["spec"]["template"]["spec"]
    (pod.get("nodeSelector") or {}).pop(GPU_NODE_LABEL[0], None)
    pod["tolerations"] = [one for one in pod.get("tolerations") or [] if one.get("key") != GPU]
