"""The review pipeline: draw reviews, have people look at them, and resolve what they say."""

from components.registry.component import fetch_version
from components.review.component import (
    gather_review_votes,
    resolve_review_votes,
    select_review_items,
)
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-review",
    description="Ask people about the reviews that are worth it, and resolve their votes.",
)
def review_pipeline(
    model_name: str = "review-sentiment",
    version: str = "champion",
    log_uri: str = "",
    suspects_uri: str = "",
    since: str = "",
    until: str = "",
    wait_minutes: float = 0.0,
    options: dict = {},  # noqa: B006 - a KFP parameter default is a constant
) -> None:
    """Fetch the version that answered, draw, gather votes, resolve.

    Args:
        model_name: Registered model.
        version: Whose answers are reviewed: a number, or champion, challenger or previous.
        log_uri: Folder or URI of the payload log, which must hold texts; empty for none.
        suspects_uri: Parquet of `find_label_noise`; empty for what the last training left.
        since: Time from which the log is read (ISO 8601); empty for the end of the last window.
        until: Time up to which it is read; empty for now.
        wait_minutes: How long to wait for votes; 0 looks once. What is missing then is there at the
            next run.
        options: Queues, people and rules by name (`ReviewOptions`).
    """
    fetched = place(fetch_version(model_name=model_name, version=version))
    selected = place(
        select_review_items(
            model=fetched.outputs["model"],
            predictions=fetched.outputs["predictions"],
            log_uri=log_uri,
            suspects_uri=suspects_uri,
            since=since,
            until=until,
            options=options,
        )
    )
    gathered = place(
        gather_review_votes(
            items=selected.outputs["items"], wait_minutes=wait_minutes, options=options
        )
    )
    place(
        resolve_review_votes(
            items=selected.outputs["items"],
            selection_summary=selected.outputs["selection_summary"],
            gathered=gathered.outputs["gathered"],
            options=options,
        )
    )
