"""The A/B test pipeline: a registered version against the one that serves, at a fixed share."""

from components.deployment.component import run_ab_test
from components.registry.component import fetch_version, record_rollout
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-ab-test",
    description="Test a registered version against the one that serves; the better one serves on.",
)
def ab_test_pipeline(
    version: str,
    model_name: str = "review-sentiment",
    mode: str = "Standard",
    share_b: int = 50,
    baseline: float = 0.85,
    smallest_effect: float = 0.03,
    power: float = 0.8,
    alpha: float = 0.05,
    reviews_per_second: float = 10.0,
    deadline_seconds: float = 3600.0,
    url: str = "",
    settings: dict = {},  # noqa: B006 - a KFP parameter default is a constant
    namespace: str = "",
    retry_rejected: bool = False,
) -> None:
    """Fetch a version, test it, let the registry say what serves.

    Args:
        version: The candidate, arm B: version number in the registry, or challenger or previous.
        model_name: Name in the registry and of the service.
        mode: KServe's deployment mode, Standard or Knative.
        share_b: B's percent of the traffic.
        baseline: Accuracy expected of A, the version that serves.
        smallest_effect: Smallest difference of accuracy that would matter; with the baseline it
            says how many labelled reviews each arm has to answer.
        power: Chance to find a difference of that size.
        alpha: Chance to find a difference where there is none.
        reviews_per_second: How fast labelled reviews are sent.
        deadline_seconds: A test without its sample by then is undecided, and A stays.
        url: Where the service's traffic is split; empty for the one that the service tells.
        settings: B's resources: fields of `ServiceSettings` by name.
        namespace: Of the service; empty for the run's own.
        retry_rejected: Test a version again that was turned down before.
    """
    fetched = place(fetch_version(model_name=model_name, version=version, approved_only=True))
    tested = place(
        run_ab_test(
            model=fetched.outputs["model"],
            labelled=fetched.outputs["predictions"],
            model_name=model_name,
            version=fetched.outputs["version"],
            mode=mode,
            share_b=share_b,
            baseline=baseline,
            smallest_effect=smallest_effect,
            power=power,
            alpha=alpha,
            reviews_per_second=reviews_per_second,
            deadline_seconds=deadline_seconds,
            url=url,
            settings=settings,
            namespace=namespace,
            retry_rejected=retry_rejected,
        )
    )
    place(
        record_rollout(
            model_name=model_name,
            version=fetched.outputs["version"],
            decision=tested.outputs["decision"],
            reason=tested.outputs["reason"],
            stable_version=tested.outputs["stable_version"],
        )
    )
