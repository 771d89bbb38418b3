"""The rollout pipeline: a registered version becomes the one that serves, if it proves itself."""

from components.deployment.component import roll_out_model
from components.registry.component import fetch_version, record_rollout
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-rollout",
    description="Serve a registered version: as a canary that is promoted or rolled back.",
)
def rollout_pipeline(
    version: str = "champion",
    model_name: str = "review-sentiment",
    mode: str = "Standard",
    options: dict = {},  # noqa: B006 - a KFP parameter default is a constant
    service: dict = {},  # noqa: B006
    namespace: str = "",
) -> None:
    """Fetch a version, roll it out step by step, let the registry say what serves.

    Args:
        version: Version number in the registry, or champion, challenger or previous.
        model_name: Name in the registry and of the service.
        mode: KServe's deployment mode, Standard or Knative.
        options: Steps, pace and limits by name (`RolloutOptions`).
        service: Replicas, resources and scaling by name (`ServiceSettings`).
        namespace: Namespace of the service; empty for the run's own.
    """
    fetched = place(fetch_version(model_name=model_name, version=version, approved_only=True))
    rolled = place(
        roll_out_model(
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
            decision=rolled.outputs["decision"],
            reason=rolled.outputs["reason"],
            stable_version=rolled.outputs["stable_version"],
        )
    )
