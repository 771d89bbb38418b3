"""How training's options are found: by a search, or as they were given. Part of its pipeline.

A pipeline of its own: KFP's compiler mixes up conditions at the root of a pipeline with those of a
pipeline within it, so the training pipeline has none at its root.
"""

from kfp import dsl
from kfp.dsl import Dataset, Input

from components.training.component import chosen_hyperparameters, tune_hyperparameters
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place, scale_of_environment


@pipeline(name="tuning", description="Search the training options, or take those given.")
def tuning_pipeline(
    training_set: Input[Dataset],
    base_model: str,
    hyperparameters: dict,
    tune_trials: int,
    seed: int,
) -> dict:
    """Random search if there are trials to run, else check what was given; all training options.

    `training_pipeline` describes the parameters; the seed is also that of the draws.
    """
    scale = scale_of_environment()
    with dsl.If(tune_trials > 0, name="tune"):
        tuned = place(
            tune_hyperparameters(
                training_set=training_set,
                base_model=base_model,
                hyperparameters=hyperparameters,
                trials=tune_trials,
                seed=seed,
                nodes=scale.nodes,
                gpus_per_node=scale.gpus_per_node,
            )
        )
    with dsl.Else(name="as-given"):
        given = place(chosen_hyperparameters(hyperparameters=hyperparameters, seed=seed))
    return dsl.OneOf(tuned.outputs["hyperparameters"], given.outputs["hyperparameters"])
