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
    options: dict = {},  # noqa: B006 - a KFP parameter default is a constant
    service: dict = {},  # noqa: B006
    namespace: str = "",
) -> None:
    """Fetch a version, test it, let the registry say what serves.

    Args:
        version: The candidate, arm B: version number in the registry, or challenger or previous.
        model_name: Name in the registry and of the service.
        mode: KServe's deployment mode, Standard or Knative.
        options: Share, plan and pace by name (`AbTestOptions`).
        service: B's resources by name (`ServiceSettings`).
        namespace: Namespace of the service; empty for the run's own.
    """
    fetched = place(fetch_version(model_name=model_name, version=version, approved_only=True))
    tested = place(
        run_ab_test(
            model=fetched.outputs["model"],
            labelled=fetched.outputs["predictions"],
            model_name=model_name,
            version=fetched.outputs["version"],
            mode=mode,
            options=options,
            service=service,
            namespace=namespace,
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
