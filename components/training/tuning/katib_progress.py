"""An Experiment while it runs: its trials, what to report of them, and what it has come to."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.launch import condition
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Request, Resource
from components.shared.machine.errors import UserError
from components.shared.machine.search_space import SearchSpace, in_words
from components.training.tuning.experiment import FAILED, FINISHED, STOPPED_EARLY, Trial

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

TRIAL = "katib.kubeflow.org/trial"
"""Label of a trial's pods; its value is the trial's name."""

TRIALS_OF = "katib.kubeflow.org/experiment={name}"
"""Label selector of an Experiment's trials."""

PODS = f"{TRIALS_OF},{TRIAL}"
"""Label selector of the pods of an Experiment's trials; without the second label there would be
that of the search algorithm, which runs all the time."""

COLLECTOR = "metrics-logger-and-collector"
"""Container that Katib adds to a trial's pod. The training's output goes through a file to it, and
into its log."""

_TRIALS = Resource("kubeflow.org", "v1beta1", "trials", "Trial", "Katib")
_FAILURES = {
    "Failed": "it failed",
    "Killed": "it was killed",
    "MetricsUnavailable": "it printed no metrics",
}
"""Conditions of a trial that ended without a result."""

_OUTAGE_SECONDS = 600.0
"""As long as a watch of the Experiment waits: a search of hours is not lost by an upgrade."""

_LINES, _TAIL = 15, 200
_TIMEOUT = (5.0, 30.0)
# The header of klog, which the collector writes with: severity, date, time, thread, place.
_KLOG = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ \S+:\d+\] ?(.*)")

logger = logging.getLogger(__name__)


class FollowedSearch:
    """An Experiment that is followed.

    Attributes:
        table: Its trials that have ended, by their names in the cluster.
    """

    def __init__(self, experiments: Objects, name: str, space: SearchSpace, trials: int) -> None:
        """Follow the Experiment of this name, which is to have so many trials."""
        self.table: dict[str, Trial] = {}
        self._experiments, self._name = experiments, name
        self._space, self._trials = space, trials
        self._last_words: dict[str, str] = {}
        self._reported = ""

    def report(self, experiment: dict[str, Any]) -> None:
        """Log the trials that have ended since, and how many of what there are."""
        before = set(self.table)
        self._look()
        for name in [name for name in self.table if name not in before]:
            trial = self.table[name]
            logger.info(
                "trial %d %s: %s: %s",
                *(trial["trial"], trial["status"], in_words(trial["parameters"])),
                trial.get("reason") or in_words(trial["metrics"]) or "no scores",
            )
        counts = self._counts(experiment)
        if counts != self._reported:
            self._reported = counts
            logger.info("%s", counts)

    def outcome(self, experiment: dict[str, Any]) -> bool | None:
        """True once the Experiment has ended with a trial that finished; None before.

        Raises:
            UserError: If it ended otherwise, with what a failed trial printed last.
        """
        failed = condition(experiment, "Failed")
        if not failed and not condition(experiment, "Succeeded"):
            return None
        self._look()
        statuses = [trial["status"] for trial in self.table.values()]
        if failed or FINISHED not in statuses:
            reasons = [trial["reason"] for trial in self.table.values() if "reason" in trial]
            why = reasons[-1] if reasons else self._experiments.explain(self._name)
            raise UserError(
                f"Experiment {self._name} failed: {statuses.count(FAILED)} of {len(statuses)} "
                f"trials failed; the last one: {why}"
            )
        return True

    def _look(self) -> None:
        """Read the trials and, of those that have failed since, what they printed last."""
        self.table = {}
        for number, found in enumerate(self._list(), start=1):
            name, status = found["metadata"]["name"], found.get("status") or {}
            metrics = dict(_finite(status))
            trial: Trial = {
                "trial": number,
                "parameters": _parameters(found, self._space),
                "metrics": metrics,
                "seconds": _seconds(status),
            }
            failure = next((kind for kind in _FAILURES if condition(found, kind)), "")
            if not failure and condition(found, "EarlyStopped"):
                trial["status"] = STOPPED_EARLY
            elif not failure and not condition(found, "Succeeded"):
                continue
            elif not failure and self._space.objective in metrics:
                trial["status"] = FINISHED
            else:
                if name not in self._last_words:
                    self._last_words[name] = self._read_last_words(name)
                why = _FAILURES.get(failure, f"it ended without a finite {self._space.objective}")
                trial |= {"status": FAILED, "reason": self._last_words[name] or why}
            self.table[name] = trial

    def _counts(self, experiment: Mapping[str, Any]) -> str:
        """How many trials there are of which kind, and about how long the others will take."""
        status = experiment.get("status") or {}
        statuses = [trial["status"] for trial in self.table.values()]
        done = len(statuses)
        counts = (
            f"{done} of {self._trials} trials done ({statuses.count(FINISHED)} finished, "
            f"{statuses.count(FAILED)} failed, {statuses.count(STOPPED_EARLY)} stopped early), "
            f"{status.get('trialsRunning', 0)} running"
        )
        if not 0 < done < self._trials or not status.get("startTime"):
            return counts
        spent = datetime.now(UTC) - datetime.fromisoformat(status["startTime"])
        left = round(spent.total_seconds() / 60 * (self._trials - done) / done)
        return f"{counts}, about {left // 60}:{left % 60:02d} h left"

    def _list(self) -> list[dict[str, Any]]:
        """The trials as the cluster has them, in the order in which they were made."""
        from kubernetes.client import CustomObjectsApi

        listed = self._ask(
            "list",
            _TRIALS,
            lambda client, namespace: CustomObjectsApi(client).list_namespaced_custom_object(
                _TRIALS.group,
                _TRIALS.version,
                namespace,
                _TRIALS.plural,
                label_selector=TRIALS_OF.format(name=self._name),
                _request_timeout=_TIMEOUT,
            ),
        )
        return sorted(
            listed["items"],
            key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"]),
        )

    def _read_last_words(self, trial: str) -> str:
        """What the pod of a failed trial printed last; empty where it is gone, or was silent."""
        from kubernetes.client import CoreV1Api

        try:
            pods = self._ask(
                "list",
                Resource("", "v1", "pods", "Pod"),
                lambda client, namespace: CoreV1Api(client).list_namespaced_pod(
                    namespace, label_selector=f"{TRIAL}={trial}", _request_timeout=_TIMEOUT
                ),
            ).items
            for pod in pods:
                failed = [
                    status.name
                    for status in pod.status.container_statuses or []
                    if status.state.terminated and status.state.terminated.exit_code
                ]
                for container in sorted(failed, key=lambda one: one != COLLECTOR):
                    log = self._ask(
                        "get",
                        Resource("", "v1", "pods/log", "Pod"),
                        lambda client, namespace, pod=pod, container=container: CoreV1Api(
                            client
                        ).read_namespaced_pod_log(
                            pod.metadata.name,
                            namespace,
                            container=container,
                            tail_lines=_TAIL,
                            _request_timeout=_TIMEOUT,
                        ),
                    )
                    if lines := list(_lines_of_training(log.splitlines()))[-_LINES:]:
                        return " | ".join(lines)
        except UserError as error:
            return f"its log cannot be read ({error})"
        return ""

    def _ask(self, verb: str, resource: Resource, call: "Callable[[ApiClient, str], Any]") -> Any:
        """The answer of a call, made with the client and the namespace of the Experiments."""
        client, namespace = self._experiments.client, self._experiments.namespace
        policy = replace(self._experiments.retry_policy, seconds=_OUTAGE_SECONDS)
        request = Request(verb, resource, namespace, "", client.configuration.host)
        return policy.call(lambda: call(client, namespace), request)


def _lines_of_training(log: Iterable[str]) -> Iterator[str]:
    """The lines of the training: those of the collector's own, and its traces, left out."""
    for line in log:
        header = _KLOG.match(line)
        if header and header[1] == "F":
            return
        text = (header[2] if header else line).strip()
        if text and (not header or header[1] == "I"):
            yield text


def _parameters(trial: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    assigned = {
        one["name"]: one["value"] for one in trial["spec"].get("parameterAssignments") or []
    }
    return {
        parameter.name: parameter.value(assigned[parameter.name])
        for parameter in space.parameters
        if parameter.name in assigned
    }


def _finite(status: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The last value of each metric that has a finite one; Katib writes `unavailable` otherwise."""
    for metric in (status.get("observation") or {}).get("metrics") or []:
        try:
            value = float(metric.get("latest", ""))
        except ValueError:
            continue
        if math.isfinite(value):
            yield metric["name"], value


def _seconds(status: Mapping[str, Any]) -> float:
    """How long a trial took; 0 where Katib does not write it."""
    # Katib writes no end where a trial was stopped early.
    changes = [c.get("lastTransitionTime") for c in status.get("conditions") or []]
    end = status.get("completionTime") or max(filter(None, changes), default=None)
    if not status.get("startTime") or not end:
        return 0.0
    start, end = (datetime.fromisoformat(text) for text in (status["startTime"], end))
    return max(0.0, (end - start).total_seconds())
