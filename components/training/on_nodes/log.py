"""How a TrainJob gets on: the metrics that the first of its pods prints, as they come."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.training.on_nodes.train_job import NODE, PODS

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_FIRST_POD = "batch.kubernetes.io/job-completion-index=0"
"""Label of the pod of rank 0, which alone prints metrics."""

_TAIL_LINES = 200
"""More than a training prints in the half minute between two looks."""

_TIMEOUT = (5.0, 30.0)

# Kubernetes' time of the line, the training's own, which an evaluation's metrics share; the metric.
_METRIC = re.compile(r"(?P<time>\S+) (?P<evaluation>\d\S+Z) (?P<metric>\w+=[\d.]+)")


@dataclass
class MetricLines:
    """The metrics of one TrainJob, each told once, also across pods that take each other's place.

    Attributes:
        client: Of the cluster's API.
        namespace: Of the TrainJob.
        name: Of the TrainJob.
        told: Time of the last line that was told, as the cluster writes it.
    """

    client: "ApiClient"
    namespace: str
    name: str
    told: str = ""

    def new(self) -> list[str]:
        """What was printed since the last call, a line for each evaluation.

        Where the pod has not begun, is gone, or its log cannot be read, there is nothing new.
        """
        from kubernetes.client import CoreV1Api
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        core = CoreV1Api(self.client)
        try:
            pods = core.list_namespaced_pod(
                self.namespace,
                label_selector=f"{PODS.format(name=self.name)},{_FIRST_POD}",
                _request_timeout=_TIMEOUT,
            ).items
            begun = [pod for pod in pods if pod.status and pod.status.phase != "Pending"]
            logs = [
                core.read_namespaced_pod_log(
                    pod.metadata.name,
                    self.namespace,
                    container=NODE,
                    timestamps=True,
                    tail_lines=_TAIL_LINES,
                    _request_timeout=_TIMEOUT,
                )
                for pod in begun
            ]
        except (ApiException, HTTPError, OSError):
            return []
        return self._evaluations(logs)

    def _evaluations(self, logs: list[str]) -> list[str]:
        """The lines that were not told before, those of one evaluation joined."""
        lines = [line for log in logs for line in log.splitlines()]
        metrics = [match for match in map(_METRIC.fullmatch, lines) if match]
        evaluations: dict[str, list[str]] = {}
        for match in sorted(metrics, key=lambda match: match["time"]):
            if match["time"] > self.told:
                evaluations.setdefault(match["evaluation"], []).append(match["metric"])
        self.told = max([self.told, *(match["time"] for match in metrics)])
        return [" ".join(evaluation) for evaluation in evaluations.values()]
