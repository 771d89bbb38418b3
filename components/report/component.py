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
    bias_summary: Input[Artifact],
    report: Output[HTML],
) -> None:
    """Tell what went in, how training went and how good the model is, on one page.

    Args:
        ingest_summary: What was read, kept, dropped and quarantined.
        prepare_summary: Labels, splits and balancing.
        features_summary: Tokenisation and the feature store.
        model: Model folder, for its training history.
        evaluation_summary: Scores, calibration, comparison and the gate's decision.
        bias_summary: Whether a limit on bias was asked for and kept.
        report: One HTML page that needs nothing beside it.
    """
    import logging

    from components.report.training_page import RunArtifacts, compose_report

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    compose_report(
        RunArtifacts(
            ingest=ingest_summary.path,
            prepare=prepare_summary.path,
            features=features_summary.path,
            model_folder=model.path,
            evaluation=evaluation_summary.path,
            bias=bias_summary.path,
        ),
        report.path,
    )
