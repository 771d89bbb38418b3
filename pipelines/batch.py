"""The batch pipeline: reviews in, a registered version's predictions out."""

from components.data.component import read_unlabelled
from components.registry.component import fetch_version
from components.serving.component import score_reviews
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-batch",
    description="Score reviews of any number with a registered version.",
)
def batch_pipeline(
    data_uri: str,
    version: str = "champion",
    model_name: str = "review-sentiment",
    columns: str = "",
    max_rejected_share: float = 0.2,
    engine: str = "auto",
    nodes: int = 1,
) -> None:
    """Read reviews, fetch a version, score every review that has a text.

    Args:
        data_uri: Reviews in CSV, TSV, JSON Lines or Parquet at any fsspec URI, or a folder of such
            files, or `sample` for the bundled ones.
        version: Version number in the registry, or champion, challenger or previous.
        model_name: Name in the registry.
        columns: Fields and the columns to read them from, as in `review_body=comment`.
        max_rejected_share: Share of the rows that cannot be scored above which that is an error.
        engine: `auto` (the fastest that agrees with torch), `torch`, or one of the version's.
        nodes: Pods of four cores that score, in a RayJob where there are several; of no effect on
            one machine.
    """
    read = place(
        read_unlabelled(data_uri=data_uri, columns=columns, max_rejected_share=max_rejected_share)
    )
    fetched = place(fetch_version(model_name=model_name, version=version))
    place(
        score_reviews(
            reviews=read.outputs["reviews"],
            model=fetched.outputs["model"],
            model_name=model_name,
            version=fetched.outputs["version"],
            engine=engine,
            nodes=nodes,
        )
    )
