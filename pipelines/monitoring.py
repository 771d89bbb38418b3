"""The monitoring pipeline: whether the champion's traffic drifted, and how right it still is."""

from kfp import dsl

from components.monitoring.component import draw_drift_page, monitor_answers
from components.registry.component import fetch_version
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-monitoring",
    description="Compare what the champion answered of late with what it was made from.",
)
def monitoring_pipeline(
    log_uri: str,
    model_name: str = "review-sentiment",
    version: str = "champion",
    since: str = "",
    until: str = "",
    resolved: str = "",
    alarms_per_year: float = 1.0,
    looks_per_year: int = 365,
    min_rows: int = 500,
    min_effect: float = 0.01,
    evidently: bool = False,
) -> None:
    """Fetch the champion, look at its answers, and draw Evidently's page where wanted.

    Args:
        log_uri: Payload log, any URI that fsspec reads.
        model_name: Name in the registry.
        version: Version number in the registry, or champion.
        since: Begin of the window, ISO; empty for seven days before its end.
        until: End of the window, ISO; empty for now.
        resolved: Labels that people agreed on, a file or folder; empty for the review's own.
        alarms_per_year: False alarms of a year that one can live with.
        looks_per_year: How often a year somebody looks.
        min_rows: Different texts below which nothing is said about drift.
        min_effect: Least share of answers that must have moved for an alarm.
        evidently: Whether Evidently draws a page of its own.
    """
    fetched = place(fetch_version(model_name=model_name, version=version))
    looked_at = {
        "model": fetched.outputs["model"],
        "version": fetched.outputs["version"],
        "model_name": model_name,
        "log_uri": log_uri,
        "since": since,
        "until": until,
    }
    place(
        monitor_answers(
            predictions=fetched.outputs["predictions"],
            resolved=resolved,
            alarms_per_year=alarms_per_year,
            looks_per_year=looks_per_year,
            min_rows=min_rows,
            min_effect=min_effect,
            **looked_at,
        )
    )
    with dsl.If(evidently == True, name="evidently"):  # noqa: E712 - compiled, not computed
        place(draw_drift_page(**looked_at))
