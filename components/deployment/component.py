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


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def roll_out_model(
    model: Input[Model],
    labelled: Input[Dataset],
    model_name: str,
    version: str,
    mode: str,
    steps: str,
    limits: dict,
    settings: dict,
    namespace: str,
    labelled_reviews: int,
    look_every_seconds: float,
    step_deadline_seconds: float,
    retry_rejected: bool,
    payload_uri: str,
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
        steps: Percent of the traffic in turn, such as 10,50,100.
        limits: How much worse the canary may be, by name; the defaults where not named.
        settings: Replicas, resources and autoscaling by name; the defaults where not named.
        namespace: Of the service; empty for the run's own.
        labelled_reviews: Most labelled reviews to ask; 0 asks none.
        look_every_seconds: Pause between two looks at the numbers.
        step_deadline_seconds: A canary that is not proven within this time of a step goes back.
        retry_rejected: Try a version again that was rolled back before.
        payload_uri: Payload log of both versions, to compare a shadow's answers; empty for none.
        rollout: What happened, JSON.
        report: The same with pictures.
        metrics: The shares reached and the last figures of both versions.

    Returns:
        decision: promote, roll_back, first_deployment or already_serving.
        reason: Why, in one sentence.
        stable_version: The version that served before.
    """
    from typing import NamedTuple

    from components.deployment.rollout_step import percentages
    from components.deployment.rollout_step import roll_out_model as run

    result = run(
        model.path,
        model.uri,
        labelled.path,
        rollout.path,
        report.path,
        model_name=model_name,
        version=version,
        mode=mode,
        steps=percentages(steps),
        limits=limits,
        settings=settings,
        namespace=namespace,
        labelled_reviews=labelled_reviews,
        look_every_seconds=look_every_seconds,
        step_deadline_seconds=step_deadline_seconds,
        retry_rejected=retry_rejected,
        payload_uri=payload_uri,
    )
    metrics.log_metric("decision", str(result.decision))
    metrics.log_metric("steps_passed", len(result.steps))
    return NamedTuple("Outputs", decision=str, reason=str, stable_version=str)(
        str(result.decision), result.reason, result.stable_version
    )


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def run_ab_test(
    model: Input[Model],
    labelled: Input[Dataset],
    model_name: str,
    version: str,
    mode: str,
    share_b: int,
    baseline: float,
    smallest_effect: float,
    power: float,
    alpha: float,
    reviews_per_second: float,
    deadline_seconds: float,
    url: str,
    settings: dict,
    namespace: str,
    retry_rejected: bool,
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
        share_b: B's percent of the traffic.
        baseline: Accuracy expected of A.
        smallest_effect: Smallest difference of accuracy that would matter.
        power: Chance to find a difference of that size.
        alpha: Chance to find one where there is none.
        reviews_per_second: How fast to ask.
        deadline_seconds: A test without its sample by then is undecided.
        url: Where the service's traffic is split; empty for the one that the service tells.
        settings: The candidate's resources by name; the defaults where not named.
        namespace: Of the service; empty for the run's own.
        retry_rejected: Test a version again that was turned down before.
        ab_test: What happened, JSON.
        report: The same with pictures.
        metrics: Accuracy of both arms, their difference and its interval.

    Returns:
        decision: promote, roll_back or already_serving.
        reason: Why, in one sentence.
        stable_version: The version that served before.
    """
    from typing import NamedTuple

    from components.deployment.ab_step import ab_metrics
    from components.deployment.ab_step import run_ab_test as run

    result = run(
        model.path,
        model.uri,
        labelled.path,
        ab_test.path,
        report.path,
        model_name=model_name,
        version=version,
        mode=mode,
        plan={
            "share_b": share_b / 100,
            "baseline": baseline,
            "smallest_effect": smallest_effect,
            "power": power,
            "alpha": alpha,
        },
        reviews_per_second=reviews_per_second,
        deadline_seconds=deadline_seconds,
        url=url,
        settings=settings,
        namespace=namespace,
        retry_rejected=retry_rejected,
    )
    for name, value in ab_metrics(result).items():
        metrics.log_metric(name, value)
    return NamedTuple("Outputs", decision=str, reason=str, stable_version=str)(
        str(result.decision), result.reason, result.stable_version
    )
