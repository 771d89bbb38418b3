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
    steps: str = "10,50,100",
    limits: dict = {},  # noqa: B006 - a KFP parameter default is a constant
    settings: dict = {},  # noqa: B006
    namespace: str = "",
    labelled_reviews: int = 512,
    look_every_seconds: float = 15.0,
    step_deadline_seconds: float = 3600.0,
    retry_rejected: bool = False,
    payload_uri: str = "",
) -> None:
    """Fetch a version, roll it out step by step, let the registry say what serves.

    Args:
        version: Version number in the registry, or champion, challenger or previous.
        model_name: Name in the registry and of the service.
        mode: KServe's deployment mode, Standard or Knative.
        steps: Percent of the traffic that the canary gets in turn; a first 0 is a shadow.
        limits: How much worse the canary may be: fields of `Limits` by name; what is not named
            keeps its default.
        settings: Replicas, resources and autoscaling: fields of `ServiceSettings` by name.
        namespace: Of the service; empty for the run's own.
        labelled_reviews: Most labelled reviews that both versions are asked; 0 asks none.
        look_every_seconds: Pause between two looks at the numbers.
        step_deadline_seconds: A canary that is not proven within this time of a step goes back.
        retry_rejected: Try a version again that was rolled back before.
        payload_uri: Folder or object prefix that the version logs its answers to. Where the stable
            version was rolled out with the same, a shadow's answers are compared with its own.
    """
    fetched = place(fetch_version(model_name=model_name, version=version, approved_only=True))
    rolled = place(
        roll_out_model(
            model=fetched.outputs["model"],
            labelled=fetched.outputs["predictions"],
            model_name=model_name,
            version=fetched.outputs["version"],
            mode=mode,
            steps=steps,
            limits=limits,
            settings=settings,
            namespace=namespace,
            labelled_reviews=labelled_reviews,
            look_every_seconds=look_every_seconds,
            step_deadline_seconds=step_deadline_seconds,
            retry_rejected=retry_rejected,
            payload_uri=payload_uri,
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
