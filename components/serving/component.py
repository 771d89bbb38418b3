"""Serving's steps in a pipeline: make the trained model fast, and score many reviews with it."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def export_for_serving(
    model: Input[Model],
    training_set: Input[Dataset],
    prepared: Input[Dataset],
    predictions: Input[Dataset],
    exported: Output[Model],
    metrics: Output[Metrics],
) -> None:
    """Add the network for OpenVINO in 16 and 8 bits, each checked against torch, and a reference.

    Args:
        model: The model folder that training wrote.
        training_set: Tokenised reviews: train calibrates, validation checks.
        prepared: Reviews with their splits, for the list of known words and the reference.
        predictions: The model's answers for the test split, for the reference.
        exported: The model folder with its engines, known_words.txt and reference.parquet.
        metrics: Share of equal labels and macro-F1 of each engine.
    """
    from components.serving.export import export_for_serving as export

    checks = export(
        model.path,
        training_set.path,
        exported.path,
        prepared=prepared.path,
        predictions=predictions.path,
    )
    for check in checks:
        name = check.name.replace("-", "_")
        metrics.log_metric(f"{name}_labels_equal", check.labels_equal)
        metrics.log_metric(f"{name}_macro_f1", check.macro_f1)
    exported.metadata.update(model.metadata)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def score_reviews(
    reviews: Input[Dataset],
    model: Input[Model],
    model_name: str,
    version: str,
    predictions: Output[Dataset],
    scoring_summary: Output[Artifact],
    metrics: Output[Metrics],
    engine: str = "auto",
    nodes: int = 1,
) -> None:
    """Score reviews with a registered version; killed and started again, the step goes on.

    Args:
        reviews: What `read_unlabelled` wrote.
        model: The version's model folder.
        model_name: Registered model.
        version: The version's number.
        predictions: A folder with one Parquet file for each shard of the reviews.
        scoring_summary: Counts, labels, model, engine and speed, JSON.
        metrics: Reviews, the share of each label and of cut texts, and speed.
        engine: auto (the fastest that agrees with torch), torch, or one of the folder's engines.
        nodes: Pods that score, in a RayJob where there are several; of no effect on one machine.
    """
    import logging

    from components.serving.batch.step import score_in_step

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    done = score_in_step(
        reviews.path,
        model.path,
        predictions.path,
        scoring_summary.path,
        model_name=model_name,
        model_version=version,
        engine=engine,
        nodes=nodes,
    )
    metrics.log_metric("reviews", done.reviews)
    metrics.log_metric("truncated", done.truncated)
    metrics.log_metric("reviews_per_second", done.reviews_per_second)
    for name, count in done.labels.items():
        metrics.log_metric(f"share_{name}", count / done.reviews)
    predictions.metadata.update(
        rows=done.reviews,
        model_name=done.model_name,
        model_version=done.model_version,
        model_digest=done.model_digest,
        engine=done.engine,
    )
