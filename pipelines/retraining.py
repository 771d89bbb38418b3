"""What lies behind the decision to retrain: training, the gate, the rollout. Part of the loop.

A pipeline of its own, because kfp.local resolves a condition on a pipeline's parameter but not one
on a task's named output.
"""

from kfp import dsl

from components.retraining.component import note_retraining
from pipelines.rollout import rollout_pipeline
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place
from pipelines.training import training_pipeline


@pipeline(
    name="retraining",
    description="Train with people's labels, and roll out what passes the gate.",
    parts=(training_pipeline, rollout_pipeline),
)
def retraining_pipeline(
    retrain: str,
    occasion: str,
    resolved: str,
    data_uri: str,
    labels: str,
    columns: str,
    base_model: str,
    max_tokens: int,
    seed: int,
    hyperparameters: dict,
    accuracy_threshold: float,
    macro_f1_threshold: float,
    champion_margin: float,
    model_name: str,
    approval: str,
    mode: str,
    options: dict,
    service: dict,
) -> None:
    """Retrain where that was decided; what stands champion afterwards is rolled out.

    `decide_retraining` describes the first three parameters, `loop_pipeline` the others. A new
    model that stays behind the gate leaves the champion as it is, which then serves already.
    """
    with dsl.If(retrain == "yes", name="worth-it"):
        trained = training_pipeline(
            data_uri=data_uri,
            labels=labels,
            columns=columns,
            resolved=resolved,
            base_model=base_model,
            max_tokens=max_tokens,
            seed=seed,
            hyperparameters=hyperparameters,
            accuracy_threshold=accuracy_threshold,
            macro_f1_threshold=macro_f1_threshold,
            champion_margin=champion_margin,
            model_name=model_name,
            approval=approval,
        )
        rolled_out = rollout_pipeline(
            model_name=model_name, mode=mode, options=options, service=service
        ).after(trained)
        place(
            note_retraining(occasion=occasion, pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER).after(
                rolled_out
            )
        )
