"""What Katib asks of an Experiment, checked before one is sent.

The API server keeps fields that Katib does not know, and Katib takes no notice of them; what its
webhook refuses is told in the terms of its Go types. And some mistakes show only when the first
trial is made, or never. The rules are those of Katib 0.19: its webhook
(pkg/webhook/v1beta1/experiment/validator and pod/utils.go), the making of a trial
(pkg/controller.v1beta1/experiment/manifest/generator.go) and the services of random search and of
the median rule.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from components.shared.machine.errors import UserError

LONGEST_NAME = 40
"""Characters of an Experiment's name."""

PLACEHOLDER = re.compile(r"\$\{trialParameters\.(.+?)\}")
"""Where Katib puts a trial's value of a parameter."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

_ANY = None
"""Fields that are not ours to know: a trial is an object of any kind."""

_SETTINGS = {"algorithmName": {}, "algorithmSettings": [{"name": {}, "value": {}}]}

FIELDS: Mapping[str, Any] = {
    "apiVersion": {},
    "kind": {},
    "metadata": _ANY,
    "spec": {
        "objective": {
            "type": {},
            "goal": {},
            "objectiveMetricName": {},
            "additionalMetricNames": [{}],
            "metricStrategies": [{"name": {}, "value": {}}],
        },
        "algorithm": _SETTINGS,
        "earlyStopping": _SETTINGS,
        "parallelTrialCount": {},
        "maxTrialCount": {},
        "maxFailedTrialCount": {},
        "resumePolicy": {},
        "parameters": [
            {
                "name": {},
                "parameterType": {},
                "feasibleSpace": {
                    "min": {},
                    "max": {},
                    "step": {},
                    "list": [{}],
                    "distribution": {},
                },
            }
        ],
        "metricsCollectorSpec": {"collector": {"kind": {}}},
        "trialTemplate": {
            "retain": {},
            "primaryContainerName": {},
            "primaryPodLabels": _ANY,
            "successCondition": {},
            "failureCondition": {},
            "trialParameters": [{"name": {}, "description": {}, "reference": {}}],
            "trialSpec": _ANY,
        },
    },
}
"""The fields of an Experiment that a search of ours may have; {} is a value."""


def check_experiment(manifest: Mapping[str, Any]) -> None:
    """Check an Experiment before it is sent.

    Args:
        manifest: The object, whose search space has been read.

    Raises:
        UserError: If Katib would refuse it, or take no notice of a part of it; the sentence names
            the field.
    """
    for fault in _faults(manifest):
        raise UserError(f"Katib would not run Experiment {manifest['metadata']['name']}: {fault}")


def _faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        yield (
            f"metadata.name must be at most {LONGEST_NAME} lower case letters, digits and dashes, "
            "the first a letter"
        )
    yield from _unknown(manifest, FIELDS, "")
    yield from _counts(spec)
    yield from _objective(spec.get("objective") or {})
    yield from _settings(spec.get("algorithm") or {}, "spec.algorithm", {"random": _RANDOM})
    if "earlyStopping" in spec:
        stopping = spec["earlyStopping"] or {}
        yield from _settings(stopping, "spec.earlyStopping", {"medianstop": _MEDIAN})
    if spec.get("resumePolicy", "Never") not in ("Never", "LongRunning", "FromVolume"):
        yield "spec.resumePolicy must be Never, LongRunning or FromVolume"
    kind = ((spec.get("metricsCollectorSpec") or {}).get("collector") or {}).get("kind")
    if kind != "StdOut":
        yield "spec.metricsCollectorSpec.collector.kind must be StdOut: trials print their metrics"
    yield from _template(spec.get("trialTemplate") or {}, spec["parameters"])


def misshapen(found: Any, known: Any = FIELDS, place: str = "") -> Iterator[str]:
    """What of an Experiment is no value where one belongs, or no list or mapping.

    Args:
        found: The object, or a part of it.
        known: Its fields.
        place: Where the part is.

    Yields:
        A sentence for each, which names the field.
    """
    if known is _ANY:
        return
    if isinstance(known, list):
        if not isinstance(found, list):
            yield f"{place} must be a list"
            return
        for index, one in enumerate(found):
            yield from misshapen(one, known[0], f"{place}[{index}]")
    elif known:
        if not isinstance(found, Mapping):
            yield f"{place} must be a mapping"
            return
        for key, value in found.items():
            # One that is left empty is one that is not there.
            if value is not None:
                yield from misshapen(value, known.get(key), f"{place}.{key}".removeprefix("."))
    elif found is None or isinstance(found, list | Mapping):
        yield f"{place} must be a single value"


def _unknown(found: Any, known: Any, place: str) -> Iterator[str]:
    """Fields that the object has and Katib, or this project, does not know."""
    if isinstance(known, list):
        for index, one in enumerate(found if isinstance(found, list) else []):
            yield from _unknown(one, known[0], f"{place}[{index}]")
    elif known and isinstance(found, Mapping):
        for key, value in found.items():
            where = f"{place}.{key}".removeprefix(".")
            if key not in known:
                yield f"{where} is no field of it; there are {', '.join(known)}"
            else:
                yield from _unknown(value, known[key], where)


def _counts(spec: Mapping[str, Any]) -> Iterator[str]:
    most = spec.get("maxTrialCount")
    least = {"maxTrialCount": 1, "parallelTrialCount": 1, "maxFailedTrialCount": 0}
    for count, lowest in least.items():
        value = spec.get(count, lowest)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            yield f"spec.{count} must be a whole number from {lowest} up, not {value!r}"
        elif isinstance(most, int) and value > most:
            yield f"spec.{count} must not be above spec.maxTrialCount"


def _objective(objective: Mapping[str, Any]) -> Iterator[str]:
    metric = objective.get("objectiveMetricName")
    more = objective.get("additionalMetricNames") or []
    if metric in more:
        yield "spec.objective.additionalMetricNames must not repeat objectiveMetricName"
    latest = {
        strategy.get("name")
        for strategy in objective.get("metricStrategies") or []
        if strategy.get("value") == "latest"
    }
    for name in (metric, *more):
        if name not in latest:
            yield (
                f"spec.objective.metricStrategies must have {name} with the value latest: a "
                "trial's last line tells of the weights that it kept"
            )


_RANDOM = {"random_state": 0}
_MEDIAN = {"min_trials_required": 1, "start_step": 1}


def _settings(
    algorithm: Mapping[str, Any], place: str, known: Mapping[str, Mapping[str, int]]
) -> Iterator[str]:
    """The settings of an algorithm, each a whole number, against the least that it may be."""
    name = algorithm.get("algorithmName")
    if name not in known:
        yield f"{place}.algorithmName must be {' or '.join(known)}"
        return
    for index, setting in enumerate(algorithm.get("algorithmSettings") or []):
        least = known[name].get(setting.get("name"))
        where = f"{place}.algorithmSettings[{index}]"
        if least is None:
            yield f"{where}: {name} knows {', '.join(known[name])}, not {setting.get('name')!r}"
            continue
        value = setting.get("value")
        if not isinstance(value, str) or not value.isdecimal() or int(value) < least:
            yield f"{where}.value must be a whole number from {least} up, in quotes, not {value!r}"


def _template(template: Mapping[str, Any], searched: list[Mapping[str, Any]]) -> Iterator[str]:
    """How a trial is made."""
    place = "spec.trialTemplate"
    trial = template.get("trialSpec") or {}
    for key in ("name", "namespace"):
        if (trial.get("metadata") or {}).get(key):
            yield f"{place}.trialSpec.metadata must have no {key}; Katib gives each trial its own"
    for key in ("apiVersion", "kind"):
        if not trial.get(key):
            yield f"{place}.trialSpec has no {key}"
    if not template.get("primaryContainerName"):
        yield f"{place}.primaryContainerName is missing; name the container that trains"
    yield from _parameters(template, trial, {one["name"] for one in searched})
    if trial.get("kind") == "Job":
        containers = trial["spec"]["template"]["spec"]["containers"]
        primary = [c for c in containers if c.get("name") == template.get("primaryContainerName")]
        trainer = primary[0] if primary else {}
    else:
        trainer = (trial.get("spec") or {}).get("trainer") or {}
    yield from _command(trainer, {one["name"]: one for one in searched})


def _parameters(
    template: Mapping[str, Any], trial: Mapping[str, Any], searched: set[str]
) -> Iterator[str]:
    place = "spec.trialTemplate.trialParameters"
    declared: list[str] = []
    references: list[str] = []
    for index, one in enumerate(template.get("trialParameters") or []):
        name, reference = one.get("name"), one.get("reference")
        if not isinstance(name, str) or not name or not reference or set("{}") & set(name):
            yield f"{place}[{index}] needs a name, without braces, and a reference"
            continue
        if name in declared or reference in references:
            yield f"{place}[{index}] repeats {name} or its reference {reference}"
        elif reference not in searched:
            yield f"{place}[{index}] refers to {reference}, which is not in spec.parameters"
        declared.append(name)
        references.append(reference)
    for name in sorted(searched.difference(references)):
        yield f"{place} has none that refers to {name} of spec.parameters"
    used = set(PLACEHOLDER.findall(repr(trial)))
    for name in sorted(used.difference(declared)):
        yield f"spec.trialTemplate.trialSpec uses {name}, which is not in {place}"
    for name in sorted(set(declared).difference(used)):
        yield f"{place} has {name}, which spec.trialTemplate.trialSpec does not use"


def _command(trainer: Mapping[str, Any], searched: Mapping[str, Any]) -> Iterator[str]:
    """The command, which Katib joins by spaces into a line for a shell."""
    command, arguments = trainer.get("command") or [], trainer.get("args") or []
    if not command or not isinstance(command, list) or not isinstance(arguments, list):
        yield (
            "the container that trains must have a command, and args, in lists; without a command "
            "Katib asks the image's registry for one"
        )
        return
    for word in (*command, *arguments):
        if shlex.quote(PLACEHOLDER.sub("1", str(word))) != PLACEHOLDER.sub("1", str(word)):
            yield (
                f"the argument {word!r} does not survive a shell, in which Katib runs the command; "
                "leave out spaces, quotes and signs such as $ and ;"
            )
    for name, parameter in searched.items():
        for value in parameter["feasibleSpace"].get("list") or []:
            if shlex.quote(value) != value:
                yield f"parameter {name}: the value {value!r} does not survive a shell; change it"
