"""What a trial of Katib's that failed said last."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Request, Resource

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, V1Pod

COLLECTOR = "metrics-logger-and-collector"
"""Container that Katib adds to a trial's pod. The training's output goes through a file to it, and
into its log."""

TRIAL = "katib.kubeflow.org/trial"
"""Label of a trial's pods; its value is the trial's name."""

_LINES, _TAIL = 15, 200
_TIMEOUT = (5.0, 30.0)
# The header of klog, which the collector writes with: severity, date, time, thread, place.
_KLOG = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ \S+:\d+\] ?(.*)")


def last_words(experiments: Objects, trial: str) -> str:
    """What the pod of a failed trial printed last.

    Args:
        experiments: The Experiments of the namespace.
        trial: Name of the trial.

    Returns:
        The last lines; empty where its pods are gone, or said nothing.

    Raises:
        UserError: If the cluster refuses or cannot be reached.
    """
    for pod in _pods(experiments, f"{TRIAL}={trial}"):
        failed = [
            status.name
            for status in pod.status.container_statuses or []
            if status.state.terminated and status.state.terminated.exit_code
        ]
        for container in sorted(failed, key=lambda one: one != COLLECTOR):
            log = _ask(
                experiments,
                "get",
                "pods/log",
                lambda core, pod=pod, container=container: core.read_namespaced_pod_log(
                    pod.metadata.name,
                    experiments.namespace,
                    container=container,
                    tail_lines=_TAIL,
                    _request_timeout=_TIMEOUT,
                ),
            )
            if said := list(_of_training(log.splitlines()))[-_LINES:]:
                return " | ".join(said)
    return ""


def _of_training(log: Iterable[str]) -> Iterator[str]:
    """The lines of the training: those of the collector's own, and its traces, left out."""
    for line in log:
        header = _KLOG.match(line)
        if header and header[1] == "F":
            return
        text = (header[2] if header else line).strip()
        if text and (not header or header[1] == "I"):
            yield text


def _pods(experiments: Objects, selector: str) -> "list[V1Pod]":
    listed = _ask(
        experiments,
        "list",
        "pods",
        lambda core: core.list_namespaced_pod(
            experiments.namespace, label_selector=selector, _request_timeout=_TIMEOUT
        ),
    )
    return list(listed.items)


def _ask(experiments: Objects, verb: str, plural: str, ask: "Callable[[CoreV1Api], Any]") -> Any:
    from kubernetes.client import CoreV1Api

    client = experiments.client
    return experiments.retry_policy.call(
        lambda: ask(CoreV1Api(client)),
        Request(
            verb,
            Resource("", "v1", plural, plural),
            experiments.namespace,
            "",
            client.configuration.host,
        ),
    )
