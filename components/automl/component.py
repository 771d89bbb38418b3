"""KFP steps of the automl room."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


def candidate_names() -> list[str]:
    """The candidates, those that usually cost least first; for the pipeline's loop."""
    from components.automl.candidates import all_candidates

    return list(all_candidates())


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def open_budget(
    max_candidates: int, max_seconds_per_candidate: float, max_seconds: float
) -> NamedTuple("Outputs", deadline=float):  # type: ignore[valid-type]
    """Check the budget and say when the last candidate has to be done.

    Args:
        max_candidates: Trials of all candidates together.
        max_seconds_per_candidate: Seconds that one trial may take; 0: as many as are left.
        max_seconds: Seconds for the whole run.

    Returns:
        deadline: In seconds since 1970.
    """
    import time
    from typing import NamedTuple

    from components.automl.budget import Budget

    budget = Budget(max_candidates, max_seconds_per_candidate, max_seconds)
    return NamedTuple("Outputs", deadline=float)(budget.deadline(time.time()))


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def try_candidate(
    name: str,
    prepared: Input[Dataset],
    training_set: Input[Dataset],
    base_model: str,
    max_tokens: int,
    data_fingerprint: str,
    feature_service: str,
    deadline: float,
    max_candidates: int,
    max_seconds_per_candidate: float,
    seed: int,
    candidate: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Try one candidate within the budget; one that cannot fit is not begun and says so.

    Args:
        name: Which candidate.
        prepared: The reviews with their splits.
        training_set: Tokens of the same reviews.
        base_model: minilm, a folder or a hub id, for candidates with an encoder.
        max_tokens: Where those cut a text.
        data_fingerprint: Fingerprint of the data, for the model folder.
        feature_service: What the training set was read through, for the model folder.
        deadline: When the last candidate has to be done, in seconds since 1970.
        max_candidates: Trials of all candidates together.
        max_seconds_per_candidate: Seconds that one trial may take; 0: as many as are left.
        seed: Seed of training and of what is drawn.
        candidate: Its result: a record, and the model folder of the best trial.
        metrics: Scores on validation, trials and seconds.
    """
    import logging

    from components.automl.budget import Budget
    from components.automl.candidates import all_candidates
    from components.automl.task import read_task
    from components.automl.trials import try_candidate as try_it
    from components.shared.machine.files import sha256_of_file
    from components.shared.machine.images import code_version

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    candidates = all_candidates()
    budget = Budget(max_candidates, max_seconds_per_candidate)
    facts = {
        "data_fingerprint": data_fingerprint,
        "feature_service": feature_service,
        "training_set": sha256_of_file(training_set.path),
        "code_version": code_version(),
        "max_tokens": max_tokens,
    }
    record = try_it(
        candidates[name],
        read_task(prepared.path, training_set.path, base_model, facts),
        budget,
        trials=budget.trials(candidates)[name],
        deadline=deadline,
        seed=seed,
        folder=candidate.path,
    )
    candidate.metadata.update(name=name, status=record["status"])
    metrics.log_metric("trials", len(record["trials"]))
    for key in ("macro_f1", "accuracy", "seconds", "latency_seconds", "reviews_per_second"):
        if key in record:
            metrics.log_metric(key, record[key])


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def compare_candidates(
    candidates: Input[list[Artifact]],
    prepared: Input[Dataset],
    winner: Output[Model],
    leaderboard_page: Output[HTML],
    leaderboard_summary: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Compare the candidates on validation; the cheapest that is not distinguishable wins.

    Args:
        candidates: The result of each of them.
        prepared: The reviews, of which the validation rows are the truth.
        winner: The winner's model folder.
        leaderboard_page: The table, with intervals and the command that makes each again.
        leaderboard_summary: The same, JSON.
        metrics: Scores of the winner on validation.
    """
    import logging

    from components.automl.leaderboard import compare_candidates as compare
    from components.report.leaderboard_page import write_leaderboard_page
    from components.shared.records.model_folder import kind_of, read_class_names

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folders = [one.path for one in candidates]
    content = compare(folders, prepared.path, winner.path, leaderboard_summary.path)
    write_leaderboard_page(leaderboard_summary.path, leaderboard_page.path)
    row = next(row for row in content["rows"] if row["name"] == content["winner"])
    for name in ("macro_f1", "accuracy", "latency_seconds"):
        metrics.log_metric(name, row[name])
    winner.metadata.update(candidate=content["winner"], framework=kind_of(winner.path))
    winner.metadata["labels"] = ",".join(read_class_names(winner.path))
