"""The KFP interface of the monitoring room."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def monitor_answers(
    model: Input[Model],
    predictions: Input[Dataset],
    version: str,
    model_name: str,
    log_uri: str,
    monitoring_summary: Output[Artifact],
    monitoring_page: Output[HTML],
    metrics: Output[Metrics],
    since: str = "",
    until: str = "",
    resolved: str = "",
    alarms_per_year: float = 1.0,
    looks_per_year: int = 365,
    min_rows: int = 500,
    min_effect: float = 0.01,
) -> NamedTuple("Outputs", drifted=str, findings=str, concept_drift=str):  # type: ignore[valid-type]
    """Compare what a version answered of late with what it was made from.

    Args:
        model: The version's model folder, which holds its reference.
        predictions: Its test predictions, whose texts are compared with those that the log kept.
        version: Its number in the registry.
        model_name: Registered model.
        log_uri: The payload log, any URI that fsspec reads.
        monitoring_summary: Verdict, findings, live accuracy, versions, as JSON.
        monitoring_page: The same on a page.
        metrics: Rows, effects, live accuracy.
        since: Begin of the window, ISO; seven days before its end where empty.
        until: End of the window, ISO; now where empty.
        resolved: Labels that people agreed on, a file or folder; where empty, those of the review's
            own folder, if there are any.
        alarms_per_year: False alarms of a year that one can live with.
        looks_per_year: How often a year somebody looks.
        min_rows: Different texts below which "too little data" is the verdict.
        min_effect: Least share of answers that must have moved for an alarm.

    Returns:
        drifted: yes, no, or unknown where the data are too little.
        findings: What drifted, in words; empty where nothing did.
        concept_drift: yes where the live accuracy's interval left the test set's; unknown where too
            few answers were checked.
    """
    import logging
    from pathlib import Path
    from typing import NamedTuple

    from components.monitoring.look import review_labels, take_look, window_of
    from components.monitoring.monitor import MonitoringOptions
    from components.monitoring.window import ServedModel
    from components.report.monitoring_page import write_monitoring_page

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = take_look(
        log_uri,
        ServedModel(Path(model.path), model_name, version),
        window_of(since, until),
        monitoring_summary.path,
        MonitoringOptions(alarms_per_year, looks_per_year, min_rows, min_effect),
        resolved=resolved or review_labels(),
        predictions=predictions.path,
    )
    write_monitoring_page(monitoring_summary.path, monitoring_page.path)
    metrics.log_metric("rows", found.rows)
    metrics.log_metric("columns_drifted", len(found.found))
    for finding in found.findings:
        metrics.log_metric(f"effect_{finding.name}", finding.effect)
    if found.live_accuracy:
        metrics.log_metric("live_accuracy", found.live_accuracy.value)
        metrics.log_metric("live_accuracy_low", found.live_accuracy.low)
        metrics.log_metric("live_accuracy_high", found.live_accuracy.high)
    outputs = found.drifted, found.in_words, found.concept_drift
    return NamedTuple("Outputs", drifted=str, findings=str, concept_drift=str)(*outputs)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def draw_drift_page(
    model: Input[Model],
    version: str,
    model_name: str,
    log_uri: str,
    drift_page: Output[HTML],
    since: str = "",
    until: str = "",
) -> None:
    """Let Evidently draw the same comparison; it decides nothing here.

    Args:
        model: The version's model folder, which holds its reference.
        version: Its number in the registry.
        model_name: Registered model.
        log_uri: The payload log, any URI that fsspec reads.
        drift_page: Evidently's page.
        since: Begin of the window, ISO; seven days before its end where empty.
        until: End of the window, ISO; now where empty.
    """
    from pathlib import Path

    from components.monitoring.drift_page import write_drift_page
    from components.monitoring.look import window_of
    from components.monitoring.window import ServedModel

    served = ServedModel(Path(model.path), model_name, version)
    write_drift_page(log_uri, served, window_of(since, until), drift_page.path)
