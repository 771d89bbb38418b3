"""What happens to a model that was trained, whatever its kind: judge, report, export, release."""

from kfp.dsl import Artifact, Dataset, Input, Model

from components.evaluation.component import evaluate_classifier, explain_model, measure_bias
from components.registry.component import fetch_champion
from components.report.component import compose_report
from components.serving.component import export_for_serving
from pipelines.corrections import corrections_pipeline
from pipelines.release import release_pipeline
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="assessment",
    description="Judge a model against its thresholds and the champion; release it if it passes.",
    parts=(corrections_pipeline, release_pipeline),
)
def assessment_pipeline(
    model: Input[Model],
    training_set: Input[Dataset],
    prepared: Input[Dataset],
    ingest_summary: Input[Artifact],
    prepare_summary: Input[Artifact],
    features_summary: Input[Artifact],
    label_noise_summary: Input[Artifact],
    accuracy_threshold: float,
    macro_f1_threshold: float,
    champion_margin: float,
    resolved: str,
    facets: str,
    bias_gate: str,
    model_name: str,
    approval: str,
    data_fingerprint: str,
    feature_service: str,
) -> None:
    """Compare with the champion on the test split, write the report, and go on to the gate.

    `training_pipeline` describes the parameters, `compose_report` the summaries.
    """
    # This pipeline begins when the model is there, so the champion is that of this hour.
    champion = place(fetch_champion(model_name=model_name))
    evaluated = place(
        evaluate_classifier(
            model=model,
            training_set=training_set,
            prepared=prepared,
            champion=champion.outputs["champion"],
            accuracy_threshold=accuracy_threshold,
            macro_f1_threshold=macro_f1_threshold,
            champion_margin=champion_margin,
        )
    )
    bias = place(
        measure_bias(
            prepared=prepared,
            predictions=evaluated.outputs["predictions"],
            facets=facets,
            bias_gate=bias_gate,
        )
    )
    explained = place(explain_model(model=model, training_set=training_set, prepared=prepared))
    place(
        compose_report(
            ingest_summary=ingest_summary,
            prepare_summary=prepare_summary,
            features_summary=features_summary,
            model=model,
            evaluation_summary=evaluated.outputs["evaluation_summary"],
            bias_summary=bias.outputs["bias_summary"],
        )
    )
    corrections_pipeline(
        prepared=prepared,
        training_set=training_set,
        evaluation_summary=evaluated.outputs["evaluation_summary"],
        resolved=resolved,
    )
    exported = place(
        export_for_serving(
            model=model,
            training_set=training_set,
            prepared=prepared,
            predictions=evaluated.outputs["predictions"],
        )
    )
    release_pipeline(
        model=exported.outputs["exported"],
        evaluation_summary=evaluated.outputs["evaluation_summary"],
        bias_summary=bias.outputs["bias_summary"],
        explanation_summary=explained.outputs["explanation_summary"],
        label_noise_summary=label_noise_summary,
        ingest_summary=ingest_summary,
        predictions=evaluated.outputs["predictions"],
        accuracy=evaluated.outputs["accuracy"],
        macro_f1=evaluated.outputs["macro_f1"],
        not_worse_than_champion=evaluated.outputs["not_worse_than_champion"],
        within_bias_limit=bias.outputs["within_bias_limit"],
        accuracy_threshold=accuracy_threshold,
        macro_f1_threshold=macro_f1_threshold,
        model_name=model_name,
        approval=approval,
        data_fingerprint=data_fingerprint,
        feature_service=feature_service,
    )
