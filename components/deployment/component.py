"""Deployment's steps in a pipeline."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.contracts.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def check_deployment(
    model: Input[Model],
    predictions: Input[Dataset],
    model_name: str,
    version: str,
    deployment_check: Output[Artifact],
    manifest: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Start the model in a KServe ModelServer and compare its answers with evaluation's.

    Args:
        model: The model folder.
        predictions: Predictions of the evaluation, Parquet.
        model_name: Name of the service.
        version: Version in the registry.
        deployment_check: What was found, JSON.
        manifest: The InferenceService that a cluster would get, YAML.
        metrics: Latency of single requests and the largest difference.
    """
    from components.deployment.check import check_deployment as check

    findings = check(
        model.path,
        predictions.path,
        deployment_check.path,
        manifest.path,
        model_name=model_name,
        version=version,
        storage_uri=model.uri,
    )
    metrics.log_metric("latency_ms_p50", findings["latency_ms"]["p50"])
    metrics.log_metric("latency_ms_p95", findings["latency_ms"]["p95"])
    metrics.log_metric("ready_seconds", findings["ready_seconds"])
    metrics.log_metric("reviews_asked", findings["reviews_asked"])
    metrics.log_metric("labels_equal", findings["labels_equal"])
    metrics.log_metric("max_probability_difference", findings["max_probability_difference"])
