"""The approval pipeline: what `auto` approval does at once, for a version that waited."""

from components.deployment.component import check_deployment
from components.registry.component import fetch_version, promote_model
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-approval",
    description="Check that a registered version serves, and make it champion.",
)
def approval_pipeline(version: str, approved_by: str, model_name: str = "review-sentiment") -> None:
    """Fetch a registered version, start it in a model server, check its answers, promote it.

    Args:
        version: Version number in the model registry.
        approved_by: Who approves; stored with the version.
        model_name: Name in the model registry.
    """
    fetched = place(fetch_version(model_name=model_name, version=version))
    checked = place(
        check_deployment(
            model=fetched.outputs["model"],
            predictions=fetched.outputs["predictions"],
            model_name=model_name,
            version=version,
        )
    )
    place(
        promote_model(model_name=model_name, version=version, approved_by=approved_by).after(
            checked
        )
    )
