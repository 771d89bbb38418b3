"""What a run used and costs, in Prometheus' text format, for a collector of text files."""

from collections.abc import Mapping
from pathlib import Path

from components.shared.machine.cost import Prices, Usage
from components.shared.machine.files import replaced_when_whole


def write_run_metrics(
    path: Path, pipeline: str, usage: Mapping[str, Usage], prices: Prices, ended: float
) -> None:
    """Write the figures of the pipeline's last run to a file, in place of the run before.

    Args:
        path: File to write; node_exporter's textfile collector reads `*.prom`.
        pipeline: Name of the pipeline.
        usage: What each step used.
        prices: What that costs.
        ended: When the run ended, in seconds since 1970.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, about: str, *labels: str) -> Gauge:
        return Gauge(
            f"review_sentiment_run_{name}", about, ("pipeline", *labels), registry=registry
        )

    figures = {
        "wall_seconds": gauge("step_wall_seconds", "Wall time of a step of the last run", "step"),
        "cpu_seconds": gauge("step_cpu_seconds", "CPU time of a step of the last run", "step"),
        "gpu_seconds": gauge("step_gpu_seconds", "GPU time of a step of the last run", "step"),
        "peak_bytes": gauge("step_peak_bytes", "Peak memory of a step of the last run", "step"),
    }
    for step, used in usage.items():
        for name, figure in figures.items():
            figure.labels(pipeline, step).set(getattr(used, name))
    price = gauge("price", "Price of the last run by the table of prices", "currency")
    price.labels(pipeline, prices.currency).set(sum(map(prices.of, usage.values())))
    gauge("ended_seconds", "When the last run ended, since 1970").labels(pipeline).set(ended)
    with replaced_when_whole(path) as draft:
        draft.write_bytes(generate_latest(registry))
