"""The Experiment that a search submits, made of the manifest that describes it.

What is wrong with it is found in three ways: Katib's own object models know the fields and their
types, a dry run asks Katib's webhook, and the rules below catch what neither of them sees and what
would cost hours: trials that run to their end and are then read wrongly or not at all.
"""

import copy
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.kubernetes.namespace_objects import (
    COMPONENT_LABEL,
    GPU,
    GPU_NODE_LABEL,
    PART_OF,
    PART_OF_LABEL,
)
from components.shared.kubernetes.pod_settings import gpu_resource, pod_fields
from components.shared.kubernetes.refusals import Resource
from components.shared.machine.errors import UserError
from components.shared.machine.images import training_image
from components.training.on_nodes.train_job import NODE, train_job_spec, training_arguments
from components.training.options import is_one_process

EXPERIMENTS = Resource("kubeflow.org", "v1beta1", "experiments", "Experiment", "Katib")

MODEL_FOLDER = "/tmp/model"  # noqa: S108 - in a volume of the trial's pod alone
"""Where a trial writes the model that nobody takes."""

PLACEHOLDER = re.compile(r"\$\{trialParameters\.(.+?)\}")
"""Where Katib puts a trial's value of a parameter."""


@dataclass(frozen=True)
class TrialSettings:
    """What a run decides about the trials of its search.

    Attributes:
        count: How many to run. Where the manifest runs more side by side, or tolerates more
            failures, than that, it is as many.
        training_set: Path in the trials' pods.
        base_model: What fine-tuning starts from.
        options: All training options by name; those that are searched are replaced.
        nodes: Pods that train together in a trial.
        gpus_per_node: GPUs of each; 0 trains on the CPU.
    """

    count: int
    training_set: str
    base_model: str
    options: Mapping[str, Any]
    nodes: int = 1
    gpus_per_node: int = 1


def experiment_manifest(
    described: Mapping[str, Any],
    name: str,
    owner: Mapping[str, Any],
    trials: TrialSettings,
    *,
    early_stopping: bool = True,
) -> dict[str, Any]:
    """The Experiment of one search, JSON-ready.

    The search space, the algorithm and the trials' pod are the manifest's; what a run decides is
    put in. A trial is a Job on one node with at most one GPU, a TrainJob otherwise.

    Args:
        described: The manifest of the search, whose search space has been read.
        name: Name of the Experiment.
        owner: ownerReference; the Experiment goes when that goes.
        trials: What the run decides.
        early_stopping: Whether the manifest's early stopping applies.

    Raises:
        UserError: If the manifest is not an Experiment that Katib would run as it is meant.
    """
    manifest = copy.deepcopy(dict(described))
    for fault in _unlike_katibs_models(manifest):
        raise UserError(f"the Experiment of the search: {fault}")
    labels = (manifest.get("metadata") or {}).get("labels") or {}
    manifest["metadata"] = {
        "name": name,
        # Katib gives them to the pods of the search algorithm and of the trials as well, so none
        # here may say which of our components a pod is.
        "labels": {**labels, PART_OF_LABEL: PART_OF},
        "ownerReferences": [dict(owner)],
    }
    spec = manifest["spec"]
    spec["maxTrialCount"] = trials.count
    for count in ("parallelTrialCount", "maxFailedTrialCount"):
        if spec.get(count) is not None:
            spec[count] = min(spec[count], trials.count)
    settings = spec["algorithm"].get("algorithmSettings") or []
    if "random_state" not in [setting.get("name") for setting in settings]:
        setting = {"name": "random_state", "value": str(trials.options["seed"])}
        spec["algorithm"]["algorithmSettings"] = [*settings, setting]
    # A rule stops the first node of several only; the others would start again without it.
    if not early_stopping or trials.nodes > 1:
        spec.pop("earlyStopping", None)
    names = [parameter["name"] for parameter in spec["parameters"]]
    searched = {name: f"${{trialParameters.{name}}}" for name in names}
    arguments = training_arguments(
        trials.training_set, trials.base_model, MODEL_FOLDER, {**trials.options, **searched}
    )
    template = spec.get("trialTemplate") or {}
    try:
        command = _put_trial_in(template, arguments, trials)
    except UserError:  # about the scale
        raise
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        raise UserError(
            "the Experiment of the search: spec.trialTemplate.trialSpec must be a Job of batch/v1 "
            "whose pod has the container that primaryContainerName names; a TrainJob is made from "
            "it where trials have several nodes or GPUs"
        ) from None
    for fault in _misleading(spec, command):
        raise UserError(f"the Experiment of the search: {fault}")
    return manifest


def _put_trial_in(
    template: dict[str, Any], arguments: list[str], trials: TrialSettings
) -> list[str]:
    """Let the template's Job, or a TrainJob in its place, train; the command and its arguments."""
    job, image = template["trialSpec"], training_image(trials.gpus_per_node)
    if (job["apiVersion"], job["kind"]) != ("batch/v1", "Job"):
        raise ValueError
    pod = job["spec"]["template"]["spec"]
    primary = template["primaryContainerName"]
    container = next(one for one in pod["containers"] if one["name"] == primary)
    if not is_one_process(trials.nodes, trials.gpus_per_node):
        trial = train_job_spec(
            arguments,
            trials.nodes,
            trials.gpus_per_node,
            image=image,
            deadline_seconds=job["spec"].get("activeDeadlineSeconds", 0),
        )
        template["primaryContainerName"] = NODE
        template["trialSpec"] = {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": {"labels": {PART_OF_LABEL: PART_OF, COMPONENT_LABEL: "trial"}},
            "spec": trial,
        }
        return [*trial["trainer"]["command"], *arguments]
    container |= {"args": arguments, "image": image}
    _follow_cluster(pod, container, gpu=trials.gpus_per_node > 0)
    return [*(container.get("command") or []), *arguments] if container.get("command") else []


def _follow_cluster(pod: dict[str, Any], container: dict[str, Any], *, gpu: bool) -> None:
    """Put the cluster's settings in the place of what the manifest says of GPUs."""
    amounts = (container.get("resources") or {}).values()
    for amount in filter(None, amounts):
        if (count := amount.pop(GPU, None)) and gpu:
            amount[gpu_resource()] = count
    fields = pod_fields(gpu=gpu)
    selector = {k: v for k, v in (pod.get("nodeSelector") or {}).items() if k != GPU_NODE_LABEL[0]}
    pod["nodeSelector"] = selector | fields.get("nodeSelector", {})
    own = [one for one in pod.get("tolerations") or [] if one.get("key") != GPU]
    pod["tolerations"] = [*own, *fields.get("tolerations", [])]
    if secrets := fields.get("imagePullSecrets"):
        pod["imagePullSecrets"] = [*(pod.get("imagePullSecrets") or []), *secrets]


def _unlike_katibs_models(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a wrong type, or that Katib does not know: its models drop those, as Katib does."""
    # Takes seconds to import.
    from kubeflow_katib_api.models import V1beta1Experiment
    from pydantic import ValidationError

    try:
        known = V1beta1Experiment.from_dict(dict(manifest)).to_dict()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or error.title.removeprefix("V1beta1")
        yield f"{place}, {first['input']!r}, is not what Katib takes: {first['msg']}"
    except (AttributeError, TypeError) as error:
        yield f"it is not what Katib takes ({error})"
    else:
        yield from _dropped(manifest, known, "")


def _dropped(given: Any, known: Any, place: str) -> Iterator[str]:
    """What stands in the first and not in the second; a field left empty stands in neither."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if value is not None and key not in known:
                yield f"Katib knows no field {place}{key}; correct its name or take it out"
            elif value is not None:
                yield from _dropped(value, known[key], f"{place}{key}.")
    elif isinstance(given, list):
        for index, (value, same) in enumerate(zip(given, known, strict=True)):
            yield from _dropped(value, same, f"{place.rstrip('.')}[{index}].")


def _misleading(spec: Mapping[str, Any], command: list[str]) -> Iterator[str]:
    """What Katib accepts and what would cost the time of all trials."""
    objective = spec["objective"]
    strategies = objective.get("metricStrategies") or []
    latest = {one.get("name") for one in strategies if one.get("value") == "latest"}
    for name in (objective["objectiveMetricName"], *(objective.get("additionalMetricNames") or [])):
        if name not in latest:
            yield (
                f"spec.objective.metricStrategies must have {name} with the value latest: a "
                "trial's last line tells of the weights that it kept"
            )
    collector = (spec.get("metricsCollectorSpec") or {}).get("collector") or {}
    if collector.get("kind") != "StdOut":
        yield "spec.metricsCollectorSpec.collector.kind must be StdOut: trials print their metrics"
    # Katib joins the command by spaces into a line for a shell.
    if not command:
        yield "the container that trains must have a command; without one Katib asks the registry"
    for word in command:
        if shlex.quote(PLACEHOLDER.sub("1", str(word))) != PLACEHOLDER.sub("1", str(word)):
            yield (
                f"the argument {word!r} does not survive a shell, in which Katib runs the command; "
                "leave out spaces, quotes and signs such as $ and ;"
            )
    for parameter in spec["parameters"]:
        for value in parameter["feasibleSpace"].get("list") or []:
            if shlex.quote(value) != value:
                yield (
                    f"parameter {parameter['name']}: the value {value!r} does not survive a shell, "
                    "in which Katib runs the command; change it"
                )
