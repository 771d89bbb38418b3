"""From prepared reviews to the candidate that wins, and on to its assessment. Part of AutoML.

A pipeline of its own, because kfp.local gives the tasks of a loop the loop's item in place of
another task's named output; a pipeline's parameters reach them as they are.
"""

import os

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input

from components.automl.component import candidate_names, compare_candidates, try_candidate
from pipelines.assessment import assessment_pipeline
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place

CANDIDATES_AT_ONCE = "CANDIDATES_AT_ONCE"
"""Environment variable, read when the pipeline is compiled: how many candidates are tried side by
side; unset, all of them. On one machine it is 1, so that none takes another's cores."""


@pipeline(
    name="selection",
    description="Try candidates within a budget, and assess and release the one that wins.",
    parts=(assessment_pipeline,),
)
def selection_pipeline(
    prepared: Input[Dataset],
    training_set: Input[Dataset],
    ingest_summary: Input[Artifact],
    prepare_summary: Input[Artifact],
    features_summary: Input[Artifact],
    label_noise_summary: Input[Artifact],
    base_model: str,
    max_tokens: int,
    data_fingerprint: str,
    feature_service: str,
    deadline: float,
    max_candidates: int,
    max_seconds_per_candidate: float,
    seed: int,
    accuracy_threshold: float,
    macro_f1_threshold: float,
    champion_margin: float,
    facets: str,
    bias_gate: str,
    model_name: str,
    approval: str,
) -> None:
    """Try every candidate, compare them on validation, and go on with the winner.

    `automl_pipeline` and `try_candidate` describe the parameters.
    """
    at_once = int(os.environ.get(CANDIDATES_AT_ONCE) or 0) or None
    with dsl.ParallelFor(candidate_names(), parallelism=at_once) as name:
        tried = place(
            try_candidate(
                name=name,
                prepared=prepared,
                training_set=training_set,
                base_model=base_model,
                max_tokens=max_tokens,
                data_fingerprint=data_fingerprint,
                feature_service=feature_service,
                deadline=deadline,
                max_candidates=max_candidates,
                max_seconds_per_candidate=max_seconds_per_candidate,
                seed=seed,
            )
        )
    compared = place(
        compare_candidates(candidates=dsl.Collected(tried.outputs["candidate"]), prepared=prepared)
    )
    assessment_pipeline(
        model=compared.outputs["winner"],
        training_set=training_set,
        prepared=prepared,
        ingest_summary=ingest_summary,
        prepare_summary=prepare_summary,
        features_summary=features_summary,
        label_noise_summary=label_noise_summary,
        accuracy_threshold=accuracy_threshold,
        macro_f1_threshold=macro_f1_threshold,
        champion_margin=champion_margin,
        resolved="",
        facets=facets,
        bias_gate=bias_gate,
        model_name=model_name,
        approval=approval,
        data_fingerprint=data_fingerprint,
        feature_service=feature_service,
    )
