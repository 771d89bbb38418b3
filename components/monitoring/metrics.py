"""A look as metrics for Prometheus: a text file, and a push gateway where one is named."""

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.files import replaced_when_whole
from components.shared.records import monitoring_metrics as names
from components.shared.records.monitoring_summary import UNKNOWN, YES, MonitoringSummary

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)

FILE = "metrics.prom"
"""For the node exporter's textfile collector."""

PUSHGATEWAY_URL = "PUSHGATEWAY_URL"
"""Environment variable with the address of a Prometheus push gateway; steps end too soon to be
scraped."""

_JOB = "review-sentiment-monitoring"
_PUSH_SECONDS = 10


def write_metrics(summary: MonitoringSummary, folder: str | Path) -> Path:
    """Write the text file, whole or not at all, and push the same where a gateway is named.

    A gateway that cannot be reached is a warning: the look is taken all the same.
    """
    from prometheus_client import generate_latest, push_to_gateway

    registry = registry_of(summary)
    path = Path(folder) / FILE
    with replaced_when_whole(path) as draft:
        draft.write_bytes(generate_latest(registry))
        draft.chmod(0o644)  # The node exporter is another user.
    if gateway := os.environ.get(PUSHGATEWAY_URL, ""):
        key = {"model_name": summary.model_name}
        try:
            push_to_gateway(gateway, _JOB, registry, key, timeout=_PUSH_SECONDS)
        except OSError as error:
            logger.warning("the metrics could not be pushed to %s: %s", gateway, error)
    return path


def registry_of(summary: MonitoringSummary) -> "CollectorRegistry":
    """The metrics of a look; what is not known is left out."""
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    version = {"model_name": summary.model_name, "model_version": summary.model_version}

    def tell(name: str, about: str, value: float) -> None:
        Gauge(name, about, version, registry=registry).labels(**version).set(value)

    def tell_each(name: str, about: str, label: str, values: dict[str, float]) -> None:
        gauge = Gauge(name, about, [*version, label], registry=registry)
        for key, value in values.items():
            gauge.labels(**version, **{label: key}).set(value)

    if summary.drifted != UNKNOWN:
        tell(names.DRIFTED, "Whether the newest look found drift", summary.drifted == YES)
    effects = {one.name: one.effect for one in summary.findings}
    tell_each(names.DRIFT_EFFECT, "Total variation by column", "column", effects)
    p_values = {one.name: one.p_holm for one in summary.findings}
    tell_each(names.DRIFT_P_VALUE, "Corrected p-value by column", "column", p_values)
    tell(names.DRIFT_ALPHA, "What p-values are compared with", summary.alpha)
    for name, about, accuracy in (
        (names.LIVE_ACCURACY, "Share of right answers on live traffic", summary.live_accuracy),
        (names.TEST_ACCURACY, "Share of right answers on the test split", summary.test_accuracy),
    ):
        if accuracy:
            bounds = {bound: getattr(accuracy, bound) for bound in ("value", "low", "high")}
            tell_each(name, about, "bound", bounds)
    if summary.concept_drift != UNKNOWN:
        drifted = summary.concept_drift == YES
        tell(names.CONCEPT_DRIFT, "Whether the live accuracy left the test set's", drifted)
    tell(names.MONITORED_ANSWERS, "Answers in the window", summary.rows)
    labels = summary.live_accuracy.labels if summary.live_accuracy else 0
    tell(names.LIVE_LABELS, "Answers that people have checked", labels)
    looked_at = datetime.fromisoformat(summary.looked_at).timestamp()
    tell(names.LOOKED_AT, "When the newest look was taken", looked_at)
    return registry
