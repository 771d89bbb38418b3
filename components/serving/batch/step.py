"""Scoring as a pipeline's step: what is done outlives the step, and becomes its artifact."""

import shutil
from pathlib import Path

from components.serving.batch.job import SUMMARY, Job
from components.serving.batch.score import Summary, score_reviews
from components.shared.machine.files import replaced_when_whole, surviving_folder


def score_in_step(
    reviews: str | Path,
    model_folder: str | Path,
    predictions: str | Path,
    summary: str | Path,
    *,
    model_name: str,
    model_version: str,
    engine: str,
) -> Summary:
    """Score into a folder that outlives a killed step, and hand the parts over when all are there.

    The arguments are those of `score_reviews`; `predictions` gets the parts, `summary` the JSON.
    """
    reviews, model_folder, predictions = Path(reviews), Path(model_folder), Path(predictions)
    job = Job.of(reviews, model_folder, model_name, model_version)
    kept = surviving_folder("batch", job.reviews, job.model, engine)
    folder = kept or predictions.with_name(f".{predictions.name}")
    done = score_reviews(
        reviews,
        model_folder,
        folder,
        model_name=model_name,
        model_version=model_version,
        engine=engine,
    )
    with replaced_when_whole(summary) as draft:
        shutil.copyfile(folder / SUMMARY, draft)
    with replaced_when_whole(predictions) as draft:
        shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(".*"))
    shutil.rmtree(folder, ignore_errors=True)
    return done
