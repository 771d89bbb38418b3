"""The trials of an Experiment as Katib tells them, in the form of the search on one machine."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from components.shared.kubernetes.launch import condition
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Request, Resource
from components.training.tuning.experiment import SearchSpace, Value
from components.training.tuning.katib.experiment import TRIALS_OF
from components.training.tuning.trials import FAILED, FINISHED, STOPPED_EARLY, Trial

TRIALS = Resource("kubeflow.org", "v1beta1", "trials", "Trial", "Katib")

_OUTAGE_SECONDS = 600.0

_FAILURES = {
    "Failed": "it failed",
    "Killed": "it was killed",
    "MetricsUnavailable": "it printed no metrics",
}
"""Conditions of a trial that ended without a result."""


def list_trials(experiments: Objects, name: str) -> list[dict[str, Any]]:
    """The trials of an Experiment, in the order in which they were made.

    Args:
        experiments: The Experiments of the namespace.
        name: Of the Experiment.

    Raises:
        UserError: If the cluster refuses or cannot be reached.
    """
    from kubernetes.client import CustomObjectsApi

    namespace, client = experiments.namespace, experiments.client
    # As long as a watch of the Experiment bears: a search of hours is not lost by an upgrade.
    policy = replace(experiments.retry_policy, seconds=_OUTAGE_SECONDS)
    found = policy.call(
        lambda: CustomObjectsApi(client).list_namespaced_custom_object(
            TRIALS.group,
            TRIALS.version,
            namespace,
            TRIALS.plural,
            label_selector=TRIALS_OF.format(name=name),
            _request_timeout=(5.0, 30.0),
        ),
        Request("list", TRIALS, namespace, "", client.configuration.host),
    )
    return sorted(
        found["items"],
        key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"]),
    )


def ended_trials(
    found: Sequence[Mapping[str, Any]], space: SearchSpace, words: Mapping[str, str]
) -> dict[str, Trial]:
    """Those of the trials that have ended.

    Args:
        found: Trials as Katib keeps them, in the order in which they were made.
        space: What is searched, and for what.
        words: What trials that failed said last, by their names in the cluster.

    Returns:
        The trials by their names in the cluster, numbered as they were made.
    """
    table = {}
    for number, one in enumerate(found, start=1):
        name, metrics = one["metadata"]["name"], _metrics(one)
        trial: Trial = {
            "trial": number,
            "parameters": _parameters(one, space),
            "metrics": metrics,
            "seconds": _seconds(one),
        }
        failure = next((kind for kind in _FAILURES if condition(dict(one), kind)), None)
        if failure is None and condition(dict(one), "EarlyStopped"):
            trial["status"] = STOPPED_EARLY
        elif failure is None and not condition(dict(one), "Succeeded"):
            continue
        elif failure is None and space.objective in metrics:
            trial["status"] = FINISHED
        else:
            why = _FAILURES.get(failure or "", f"it ended without a finite {space.objective}")
            trial |= {"status": FAILED, "reason": words.get(name) or why}
        table[name] = trial
    return table


def _parameters(one: Mapping[str, Any], space: SearchSpace) -> dict[str, Value]:
    given = {
        assigned["name"]: assigned["value"]
        for assigned in one["spec"].get("parameterAssignments") or []
    }
    return {
        parameter.name: parameter.value(given[parameter.name])
        for parameter in space.parameters
        if parameter.name in given
    }


def _metrics(one: Mapping[str, Any]) -> dict[str, float]:
    """The last value of each metric that has a finite one; Katib writes `unavailable` otherwise."""
    observed = ((one.get("status") or {}).get("observation") or {}).get("metrics") or []
    metrics = {}
    for metric in observed:
        try:
            value = float(metric.get("latest", ""))
        except ValueError:
            continue
        if math.isfinite(value):
            metrics[metric["name"]] = value
    return metrics


def _seconds(one: Mapping[str, Any]) -> float:
    """How long a trial took; 0 where Katib does not tell."""
    status = one.get("status") or {}
    # Katib writes no end where a trial was stopped early.
    changes = [c.get("lastTransitionTime") for c in status.get("conditions") or []]
    end = status.get("completionTime") or max(filter(None, changes), default=None)
    if not status.get("startTime") or not end:
        return 0.0
    start, end = (datetime.fromisoformat(text) for text in (status["startTime"], end))
    return max(0.0, (end - start).total_seconds())
