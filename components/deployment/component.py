"""Deployment's steps in a pipeline."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


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
    """Start the model in the model server and compare its answers with evaluation's.

    Args:
        model: The model folder.
        predictions: Predictions of the evaluation, Parquet.
        model_name: Name of the service.
        version: Version in the registry.
        deployment_check: What the server answered, JSON.
        manifest: The InferenceService that a cluster would get, YAML.
        metrics: Latency of single requests and the largest difference.
    """
    from components.deployment.check import Source
    from components.deployment.check import check_deployment as check

    result = check(
        model.path,
        predictions.path,
        deployment_check.path,
        manifest.path,
        model_name=model_name,
        version=version,
        source=Source(model.uri, model.metadata.get("digest", "")),
    )
    metrics.log_metric("latency_ms_p50", result["latency_ms"]["p50"])
    metrics.log_metric("latency_ms_p95", result["latency_ms"]["p95"])
    for name in ("ready_seconds", "reviews_asked", "labels_equal", "max_probability_difference"):
        metrics.log_metric(name, result[name])


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def roll_out_model(
    model: Input[Model],
    labelled: Input[Dataset],
    model_name: str,
    version: str,
    mode: str,
    options: dict,
    service: dict,
    namespace: str,
    rollout: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", decision=str, reason=str, stable_version=str):  # type: ignore[valid-type]
    """Serve a version: first deployment, or a canary that is promoted or rolled back by itself.

    Args:
        model: The model folder.
        labelled: Labelled reviews that both versions are asked, Parquet.
        model_name: Name of the service.
        version: Version in the registry.
        mode: Standard or Knative.
        options: `RolloutOptions` by name.
        service: `ServiceSettings` by name.
        namespace: Namespace of the service; empty for the run's own.
        rollout: What happened, JSON.
        report: The same with pictures.
        metrics: The decision and the number of steps.

    Returns:
        decision: promote, roll_back, first_deployment or already_serving.
        reason: Why, in one sentence.
        stable_version: The version that served before.
    """
    from typing import NamedTuple

    from components.deployment.rollout import roll_out_model as run
    from components.report.rollout_page import write_rollout_page

    where = {
        **{"model_name": model_name, "version": version, "mode": mode, "namespace": namespace},
        **{"model_folder": model.path, "model_uri": model.uri, "service": service},
        "model_digest": model.metadata.get("digest", ""),
    }
    outcome = run(where, options, labelled.path, rollout.path)
    write_rollout_page(rollout.path, report.path)
    metrics.log_metric("decision", str(outcome.decision))
    metrics.log_metric("steps_passed", len(outcome.steps))
    return NamedTuple("Outputs", decision=str, reason=str, stable_version=str)(
        str(outcome.decision), outcome.reason, outcome.stable_version
    )


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def run_ab_test(
    model: Input[Model],
    labelled: Input[Dataset],
    model_name: str,
    version: str,
    mode: str,
    options: dict,
    service: dict,
    namespace: str,
    ab_test: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", decision=str, reason=str, stable_version=str):  # type: ignore[valid-type]
    """Test a version against the one that serves at a fixed share, and shift to the better one.

    Args:
        model: The candidate's model folder.
        labelled: Labelled reviews to ask, each once, Parquet.
        model_name: Name of the service.
        version: The candidate's version, arm B; arm A is what serves.
        mode: Standard or Knative.
        options: `AbTestOptions` by name.
        service: `ServiceSettings` of the candidate by name.
        namespace: Namespace of the service; empty for the run's own.
        ab_test: What happened, JSON.
        report: The same with pictures.
        metrics: Accuracy of both arms, their difference and its interval.

    Returns:
        decision: promote, roll_back or already_serving.
        reason: Why, in one sentence.
        stable_version: The version that served before.
    """
    from typing import NamedTuple

    from components.deployment.ab_test import ab_metrics
    from components.deployment.ab_test import run_ab_test as run
    from components.report.ab_test_page import write_ab_test_page

    where = {
        **{"model_name": model_name, "version": version, "mode": mode, "namespace": namespace},
        **{"model_folder": model.path, "model_uri": model.uri, "service": service},
        "model_digest": model.metadata.get("digest", ""),
    }
    outcome, result = run(where, options, labelled.path, ab_test.path)
    write_ab_test_page(ab_test.path, report.path)
    for name, value in ab_metrics(outcome, result).items():
        metrics.log_metric(name, value)
    return NamedTuple("Outputs", decision=str, reason=str, stable_version=str)(
        str(outcome.decision), outcome.reason, outcome.stable_version
    )
