"""The metrics of a training, as Katib's collector reads them from what it prints."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

METRICS: tuple[str, ...] = ("macro_f1", "accuracy", "validation_loss", "train_loss")
"""Names of the metrics, in the order in which they are printed."""


def print_metrics(found: Mapping[str, float]) -> None:
    """Print an evaluation's metrics, a line for each: `2026-11-21T12:00:00.000000Z accuracy=0.8`.

    The time, to the microsecond, is what Katib orders the values of a metric by, and `latest` and
    the median rule go by that order: without it all of them would have the same time. What is not
    finite is left out: Katib's expression reads `nan` as an empty text, and its collector ends
    when it cannot make a number of that. Source: Katib 0.19,
    pkg/metricscollector/v1beta1/file-metricscollector and pkg/db/v1beta1.

    Args:
        found: Values by name; those that are no `METRICS` are left out.
    """
    time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    for name in METRICS:
        if name in found and math.isfinite(found[name]):
            print(f"{time} {name}={found[name]:.6f}", flush=True)
