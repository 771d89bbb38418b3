"""What people's labels brought, where a training had some. Part of the assessment of a model.

A pipeline of its own, as a condition at the root of one that holds others confuses KFP's compiler.
"""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input

from components.review.component import report_corrections
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(name="corrections", description="Compare a model before and after people's corrections.")
def corrections_pipeline(
    prepared: Input[Dataset],
    training_set: Input[Dataset],
    evaluation_summary: Input[Artifact],
    resolved: str,
) -> None:
    """Report on the corrections, unless `resolved` is empty; `report_corrections` describes it."""
    with dsl.If(resolved != "", name="corrected"):
        place(
            report_corrections(
                prepared=prepared,
                training_set=training_set,
                evaluation_summary=evaluation_summary,
            )
        )
