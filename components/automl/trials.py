"""Trying one candidate: its trials within the budget, the best of them kept and measured."""

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.automl.budget import Budget
from components.automl.candidate import Candidate, OutOfTimeError
from components.automl.task import Task
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.machine.search_space import in_words
from components.shared.records.decision import decide
from components.shared.records.model_folder import check_model_folder, read_calibration
from components.shared.records.model_logits import answering
from components.shared.statistics.scores import confusion_matrix, scores_of

logger = logging.getLogger(__name__)

FINISHED, NOT_BEGUN, FAILED = "finished", "not begun", "failed"

RECORD, MODEL = "candidate.json", "model"
"""What lies in a candidate's folder; the model only where it is finished."""

_ALONE = 40
"""Texts that are asked one by one to measure the latency."""


def try_candidate(
    candidate: Candidate,
    task: Task,
    budget: Budget,
    *,
    trials: int,
    deadline: float,
    seed: int,
    folder: str | Path,
) -> dict[str, Any]:
    """Try a candidate and write its folder: its record, and the model of the best trial.

    What goes wrong in a trial is its result, and the search goes on without it.

    Args:
        candidate: Which one.
        task: The problem.
        budget: The limits.
        trials: Most trials of this candidate.
        deadline: When the last trial has to be done, a time of `time.time`.
        seed: Seed of training and of the draws.
        folder: Replaced when all is written.

    Returns:
        The record: name, about, status, reason, trials, and where it finished parameters, scores,
        decisions for the validation rows, seconds, size and speed.
    """
    begun = time.time()
    record: dict[str, Any] = {"name": candidate.name, "about": candidate.about, "seed": seed}
    record |= {"base_model": task.base_model, "max_tokens": task.facts.get("max_tokens", 0)}
    with replaced_when_whole(folder) as draft, tempfile.TemporaryDirectory() as workshop:
        draft.mkdir()
        reason, table, best = "", [], {}
        try:
            reason = _not_begun(candidate, task, budget, trials, deadline)
        except UserError as error:
            record |= {"status": FAILED}
            reason = str(error)
        if not reason:
            table, best = _tried(
                candidate, task, budget, trials, deadline, seed, Path(workshop), draft / MODEL
            )
            reasons = [trial["reason"] for trial in table if trial.get("reason")]
            reason = "" if best else reasons[-1]
            record |= {"status": FINISHED if best else FAILED}
        record = {"status": NOT_BEGUN, **record, "reason": reason, "trials": table, **best}
        record["seconds"] = round(time.time() - begun, 2)
        write_json(draft / RECORD, record)
    words = f": {reason}" if reason else f", macro-F1 {record['macro_f1']:.4f}"
    logger.info("%s %s after %d trials%s", candidate.name, record["status"], len(table), words)
    return record


def _not_begun(
    candidate: Candidate, task: Task, budget: Budget, trials: int, deadline: float
) -> str:
    """Why a candidate is not begun; '' if it is."""
    if not trials:
        return f"max_candidates is {budget.max_candidates}, and cheaper candidates came first"
    if early := budget.refusal(0.0, deadline - time.time()):
        return early
    return budget.refusal(candidate.estimate(task), deadline - time.time())


def _tried(
    candidate: Candidate,
    task: Task,
    budget: Budget,
    trials: int,
    deadline: float,
    seed: int,
    workshop: Path,
    model: Path,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The trials that were run, and what is known of the best, whose folder is `model`."""
    random, table, best = np.random.default_rng(seed), [], {}
    last_begin = budget.further(time.time(), deadline)
    longest = 0.0
    for number in range(trials):
        if number and time.time() + longest > last_begin:
            logger.info("%s: no time for more than %d trials", candidate.name, number)
            break
        drawn = candidate.space.sample(random) if number else {}
        parameters = {**candidate.first, **drawn}
        logger.info("%s, trial %d: %s", candidate.name, number + 1, in_words(parameters))
        started = time.time()
        trial: dict[str, Any] = {"trial": number + 1, "parameters": parameters}
        made = workshop / f"trial-{number}"
        try:
            candidate.fit(task, parameters, seed, budget.ends(started, deadline), made)
            trained = time.time()
            check_model_folder(made)
            found = {**trial, "training_seconds": round(trained - started, 2)}
            found |= _measured(made, task)
            trial |= {"status": FINISHED, "macro_f1": found["macro_f1"]}
            if found["macro_f1"] > best.get("macro_f1", -1.0):
                best = found
                shutil.rmtree(model, ignore_errors=True)
                shutil.move(made, model)
        except OutOfTimeError:
            trial |= {"status": FAILED, "reason": "its time was over before it was done"}
        except Exception as error:
            logger.warning("%s, trial %d failed: %s", candidate.name, number + 1, error)
            what = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            trial |= {"status": FAILED, "reason": f"{what}{error}"}
        trial["seconds"] = round(time.time() - started, 2)
        longest = max(longest, trial["seconds"])
        table.append(trial)
        shutil.rmtree(made, ignore_errors=True)
    return table, best


def _measured(folder: Path, task: Task) -> Mapping[str, Any]:
    """Scores and decisions on validation, size, and speed as the folder is, before any export."""
    answer, texts = answering(folder), task.validation.texts
    started = time.perf_counter()
    logits = answer(texts)
    seconds = time.perf_counter() - started
    alone = []
    for text in texts[:_ALONE]:
        single = time.perf_counter()
        answer([text])
        alone.append(time.perf_counter() - single)
    if not np.isfinite(logits).all():
        raise UserError("training diverged: its logits are not finite")
    decided = decide(logits, read_calibration(folder))
    scores = scores_of(confusion_matrix(task.validation.classes, decided, len(task.labels)))
    return {
        "macro_f1": float(scores.macro_f1),
        "accuracy": float(scores.accuracy),
        "decided": decided.tolist(),
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "reviews_per_second": len(texts) / max(seconds, 1e-9),
        "latency_seconds": float(np.median(alone)),
    }
