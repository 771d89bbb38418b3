"""The loop: people label what is worth it, monitoring looks, and the model renews itself."""

from kfp import dsl

from components.monitoring.component import monitor_answers
from components.registry.component import fetch_version
from components.retraining.component import decide_retraining
from pipelines.retraining import retraining_pipeline
from pipelines.review import review_pipeline
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-loop",
    description="Review, monitor, decide; and where there is reason to, retrain and roll out.",
    parts=(review_pipeline, retraining_pipeline),
)
def loop_pipeline(
    log_uri: str,
    data_uri: str = "sample",
    labels: str = "sentiments",
    columns: str = "",
    base_model: str = "minilm",
    max_tokens: int = 160,
    seed: int = 42,
    hyperparameters: dict = {},  # noqa: B006 - a KFP parameter default is a constant
    accuracy_threshold: float = 0.8,
    macro_f1_threshold: float = 0.6,
    champion_margin: float = 0.01,
    model_name: str = "review-sentiment",
    approval: str = "auto",
    since: str = "",
    looks_per_year: int = 365,
    alarms_per_year: float = 1.0,
    min_rows: int = 500,
    review: dict = {},  # noqa: B006
    trigger: dict = {},  # noqa: B006
    occasion: str = "",
    mode: str = "Standard",
    options: dict = {},  # noqa: B006
    service: dict = {},  # noqa: B006
) -> None:
    """One turn: ask people and take up their votes, look at the answers, decide, act.

    Meant to run again and again (`make watch` here, a recurring run on Kubeflow): votes that are
    not there yet are taken up by the next turn.

    Args:
        log_uri: Payload log of the served model, which must hold texts if people are to be asked.
        data_uri: Reviews that the champion was trained on, to which people's labels are added.
        labels: The classes and what the data call them, as in training.
        columns: Fields and the columns to read them from, as in training.
        base_model: `minilm` (packaged), a folder, or a hub id.
        max_tokens: Longest input in tokens; longer reviews are cut.
        seed: Seed of the splits and of training; the same keeps the test split as it is.
        hyperparameters: Training options by name; what is not named keeps its default.
        accuracy_threshold: Test accuracy below which nothing is registered.
        macro_f1_threshold: Test macro-F1 below which nothing is registered.
        champion_margin: Macro-F1 that a new model may lie below the champion.
        model_name: Name in the model registry and of the service.
        approval: `auto` promotes and rolls out; `manual` registers and waits for approval.
        since: Begin of the window that monitoring looks at, ISO 8601; empty for seven days ago.
        looks_per_year: How often a year this runs.
        alarms_per_year: False alarms of a year that one can live with.
        min_rows: Different texts below which nothing is said about drift.
        review: Queues, people and rules of the review by name (`ReviewOptions`).
        trigger: When a retraining is worth it, by name (`TriggerOptions`).
        occasion: Name under which a retraining is written down; the run's own where empty. A run
            that takes up where a killed one stopped gives the other's.
        mode: KServe's deployment mode, Standard or Knative.
        options: Steps, pace and limits of the rollout by name (`RolloutOptions`).
        service: Replicas, resources and scaling of the service by name (`ServiceSettings`).
    """
    champion = place(fetch_version(model_name=model_name, version="champion"))
    reviewed = review_pipeline(model_name=model_name, log_uri=log_uri, options=review)
    looked = place(
        monitor_answers(
            model=champion.outputs["model"],
            predictions=champion.outputs["predictions"],
            version=champion.outputs["version"],
            model_name=model_name,
            log_uri=log_uri,
            since=since,
            alarms_per_year=alarms_per_year,
            looks_per_year=looks_per_year,
            min_rows=min_rows,
        ).after(reviewed)
    )
    decided = place(
        decide_retraining(
            monitoring_summary=looked.outputs["monitoring_summary"],
            champion=champion.outputs["model"],
            resolved="",
            options=trigger,
            occasion=occasion,
            pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        )
    )
    retraining_pipeline(
        retrain=decided.outputs["retrain"],
        occasion=occasion,
        resolved=decided.outputs["resolved"],
        data_uri=data_uri,
        labels=labels,
        columns=columns,
        base_model=base_model,
        max_tokens=max_tokens,
        seed=seed,
        hyperparameters=hyperparameters,
        accuracy_threshold=accuracy_threshold,
        macro_f1_threshold=macro_f1_threshold,
        champion_margin=champion_margin,
        model_name=model_name,
        approval=approval,
        mode=mode,
        options=options,
        service=service,
    )
