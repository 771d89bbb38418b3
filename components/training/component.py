"""Training's steps in a pipeline."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def tune_hyperparameters(
    training_set: Input[Dataset],
    base_model: str,
    hyperparameters: dict,
    trials: int,
    seed: int,
    trials_log: Output[Artifact],
    trials_table: Output[HTML],
    metrics: Output[Metrics],
    nodes: int = 1,
    gpus_per_node: int = 1,
) -> NamedTuple("Outputs", hyperparameters=dict):  # type: ignore[valid-type]
    """Search training options, in the space of the Katib Experiment: in Katib on a cluster.

    On a cluster this step launches the Experiment and waits; the trials have pods of their own.

    Args:
        training_set: What the feature store's join produced, Parquet.
        base_model: minilm, a folder or a hub id.
        hyperparameters: Training options by name; the search replaces those that it draws.
        trials: How many to run.
        seed: Seed of training, and of the draws where the Experiment has none.
        trials_log: The trials and which is the best, JSON.
        trials_table: The trials, as a table.
        metrics: Scores of the best trial on validation.
        nodes: Pods that train together in a trial; of no effect on one machine.
        gpus_per_node: GPUs of each; 0 trains on the CPU. Of no effect on one machine.

    Returns:
        hyperparameters: All training options of the best trial.
    """
    from typing import NamedTuple

    from components.report.trials_page import write_trials_page
    from components.training.tuning.search import tune

    best, scores = tune(
        training_set.path,
        base_model,
        {"seed": seed, **hyperparameters},
        trials,
        trials_log.path,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
    )
    write_trials_page(trials_log.path, trials_table.path)
    for name, value in scores.items():
        metrics.log_metric(name, value)
    return NamedTuple("Outputs", hyperparameters=dict)(best)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def chosen_hyperparameters(hyperparameters: dict, seed: int) -> NamedTuple(
    "Outputs", hyperparameters=dict
):  # type: ignore[valid-type]
    """Check the training options that were given, and fill in the others.

    Args:
        hyperparameters: Training options by name.
        seed: Seed of training.

    Returns:
        hyperparameters: All training options.
    """
    from typing import NamedTuple

    from components.training.tuning.search import options_as_given

    options = options_as_given({"seed": seed, **hyperparameters})
    return NamedTuple("Outputs", hyperparameters=dict)(options)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def fine_tune_classifier(
    training_set: Input[Dataset],
    base_model: str,
    hyperparameters: dict,
    data_fingerprint: str,
    feature_service: str,
    labels_as_of: str,
    model: Output[Model],
    metrics: Output[Metrics],
    training_curves: Output[HTML],
    max_tokens: int = 0,
    nodes: int = 1,
    gpus_per_node: int = 1,
    model_name: str = "review-sentiment",
) -> None:
    """Fine-tune a BERT classifier; a killed step that starts again resumes.

    With more than one node or GPU this step launches a TrainJob and waits.

    Args:
        training_set: What the feature store's join produced, Parquet.
        base_model: minilm, a folder or a hub id.
        hyperparameters: Training options by name.
        data_fingerprint: Fingerprint of the data, for the model folder.
        feature_service: What the training set was read through, for the model folder.
        labels_as_of: Time up to which labels counted, for the model folder.
        model: The model folder.
        metrics: Scores on validation, and speed.
        training_curves: Loss and scores over the steps, as a page.
        max_tokens: Where the features were cut; 0 takes the longest row of the training set.
        nodes: Pods that train together; 1 on one machine.
        gpus_per_node: GPUs of each; 0 trains on the CPU.
        model_name: Registered model, and the experiment in MLflow.
    """
    from components.report.curves_page import write_training_curves
    from components.shared.machine.files import sha256_of_file
    from components.shared.machine.images import code_version
    from components.shared.records.model_folder import read_class_names
    from components.training.fine_tune import fine_tune_at_scale

    result = fine_tune_at_scale(
        training_set.path,
        base_model,
        hyperparameters,
        model.path,
        {
            "data_fingerprint": data_fingerprint,
            "feature_service": feature_service,
            "labels_as_of": labels_as_of,
            "training_set": sha256_of_file(training_set.path),
            "code_version": code_version(),
            "base_model": base_model,
            "model_name": model_name,
        },
        max_tokens,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
    )
    write_training_curves(model.path, training_curves.path)
    scores = {
        "validation_macro_f1": result.macro_f1,
        "validation_accuracy": result.accuracy,
        "validation_loss": result.validation_loss,
        "samples_per_second": result.speed["samples_per_second"],
    }
    for name, value in scores.items():
        metrics.log_metric(name, value)
    model.metadata["framework"] = "transformers"
    model.metadata["labels"] = ",".join(read_class_names(model.path))
    model.metadata["mlflow_run"] = result.run_id
    model.metadata.update(scores)
