"""The pipeline step that writes the report of a run as the dashboard shows it."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def compose_report(
    ingest_summary: Input[Artifact],
    prepare_summary: Input[Artifact],
    features_summary: Input[Artifact],
    model: Input[Model],
    evaluation_summary: Input[Artifact],
    report: Output[HTML],
) -> None:
    """Tell what went in, how training went and how good the model is, on one page.

    Args:
        ingest_summary: What was read, kept, dropped and quarantined.
        prepare_summary: Labels, splits and balancing.
        features_summary: Tokenisation and the feature store.
        model: Model folder, for its training history.
        evaluation_summary: Scores, calibration, comparison and the gate's decision.
        report: One HTML page that needs nothing beside it.
    """
    import logging
    from pathlib import Path

    from components.report.training_page import compose_report

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    compose_report(
        Path(ingest_summary.path),
        Path(prepare_summary.path),
        Path(features_summary.path),
        Path(model.path),
        Path(evaluation_summary.path),
        Path(report.path),
    )
