"""What lies behind the gate: register, check that it serves, promote. Part of training's pipeline.

A pipeline of its own, because kfp.local resolves a condition on a pipeline's parameter but not one
on a task's named output.
"""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model

from components.deployment.component import check_deployment
from components.registry.component import promote_model, register_model
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(name="release", description="Register, check and promote a model that passes the gate.")
def release_pipeline(
    model: Input[Model],
    evaluation_summary: Input[Artifact],
    bias_summary: Input[Artifact],
    explanation_summary: Input[Artifact],
    label_noise_summary: Input[Artifact],
    ingest_summary: Input[Artifact],
    predictions: Input[Dataset],
    accuracy: float,
    macro_f1: float,
    not_worse_than_champion: str,
    within_bias_limit: str,
    accuracy_threshold: float,
    macro_f1_threshold: float,
    model_name: str,
    approval: str,
    data_fingerprint: str,
    feature_service: str,
) -> None:
    """Four conditions, then the registry, then a model server, then the champion's alias.

    Scores and predictions are those of `evaluate_classifier` on the test split; thresholds and
    approval are described at `training_pipeline`, the rest at `register_model`.
    """
    with (
        dsl.If(accuracy >= accuracy_threshold, name="accurate-enough"),
        dsl.If(macro_f1 >= macro_f1_threshold, name="macro-f1-high-enough"),
        dsl.If(not_worse_than_champion == "yes", name="not-worse"),
        dsl.If(within_bias_limit == "yes", name="within-bias-limit"),
    ):
        registered = place(
            register_model(
                model=model,
                evaluation_summary=evaluation_summary,
                bias_summary=bias_summary,
                explanation_summary=explanation_summary,
                label_noise_summary=label_noise_summary,
                ingest_summary=ingest_summary,
                predictions=predictions,
                model_name=model_name,
                approval=approval,
                data_fingerprint=data_fingerprint,
                feature_service=feature_service,
                pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            )
        )
        with dsl.If(approval == "auto", name="approved"):
            checked = place(
                check_deployment(
                    model=registered.outputs["registered"],
                    predictions=predictions,
                    model_name=model_name,
                    version=registered.outputs["version"],
                )
            )
            place(
                promote_model(model_name=model_name, version=registered.outputs["version"]).after(
                    checked
                )
            )
