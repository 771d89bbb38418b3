"""Judge a model on the test split: everything that the gate, the report and the registry need."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.evaluation import gate
from components.evaluation.champion import compare_with, find_champion
from components.evaluation.error_analysis import slices_of, token_counts, worst_mistakes
from components.evaluation.gate import GateOptions
from components.evaluation.held_out import HeldOut, read_held_out
from components.evaluation.probabilities import calibration_check, roc_curves
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.decision import (
    Calibration,
    decide,
    decide_under_prior,
    probabilities,
)
from components.shared.records.model_folder import (
    check_model_folder,
    read_calibration,
    read_class_names,
    read_training_facts,
)
from components.shared.records.model_logits import logits_of
from components.shared.records.reviews import predictions_schema
from components.shared.statistics.scores import (
    CONFIDENCE,
    RESAMPLES,
    SEED,
    confusion_matrix,
    score_intervals,
    scores_of,
)

logger = logging.getLogger(__name__)

FEW_ROWS = 20
TEMPERATURE_ROWS = 1000
"""Validation rows that the temperature is checked on: enough to see a wrong one, and quick."""


def evaluate(
    model_folder: Path,
    training_set: Path,
    prepared: Path,
    champion_folder: Path | None,
    predictions: Path,
    summary: Path,
    options: GateOptions,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Judge a model on the test split and write its predictions and the summary.

    The test split is read here and nowhere else.

    Args:
        model_folder: Model folder that training wrote.
        training_set: Parquet of TRAINING_SET_SCHEMA.
        prepared: Parquet of PREPARED_SCHEMA: the texts of the same reviews.
        champion_folder: Model folder of the champion; None, missing or empty if there is none.
        predictions: Where to write the test split's predictions, `predictions_schema`.
        summary: Where to write the summary as JSON.
        options: The thresholds of the gate.
        progress: Whether to show progress bars.

    Returns:
        The content of `summary`.

    Raises:
        UserError: If a folder is not whole, the test split is empty, or the model's logits are not
            finite.
    """
    started = time.perf_counter()
    facts = read_training_facts(check_model_folder(model_folder))
    calibration = read_calibration(model_folder)
    champion = find_champion(champion_folder, model_folder)

    test = read_held_out(training_set, prepared, "test")
    if not len(test):
        raise UserError(
            f"{training_set} has no test rows to judge the model on; give more data or a larger "
            "test share"
        )
    validation = read_held_out(training_set, prepared, "validation").first(TEMPERATURE_ROWS)
    logits, validation_logits, reviews_per_second = _predict(
        model_folder, test, validation, progress
    )

    names, truth = test.labels.names, test.classes
    decided = decide(logits, calibration)
    chances = probabilities(logits, calibration)
    confusion = confusion_matrix(truth, decided, len(names))
    scores = score_intervals(confusion)
    comparison = compare_with(champion, test, decided, options.champion_margin, progress)
    majority = int(confusion.sum(axis=1).argmax())
    majority_rate = float(confusion[majority].sum() / len(test))
    decision = gate.decide(
        scores.accuracy.value, scores.macro_f1.value, majority_rate, comparison["verdict"], options
    )
    content = {
        "rows": len(test),
        "classes": list(names),
        "majority_class": {"name": names[majority], "rate": majority_rate},
        "majority_scores": _scores_of_always(majority, confusion),
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
        "accuracy": scores.accuracy.value,
        "macro_f1": scores.macro_f1.value,
        "scores": {
            name: getattr(scores, name).to_dict()
            for name in ("accuracy", "macro_f1", "balanced_accuracy")
        },
        "per_class": [
            {
                "name": name,
                "support": int(confusion[index].sum()),
                "predicted": int(confusion[:, index].sum()),
                "precision": scores.precision[index].to_dict(),
                "recall": scores.recall[index].to_dict(),
                "f1": scores.f1[index].to_dict(),
            }
            for index, name in enumerate(names)
        ],
        "confusion_matrix": confusion.tolist(),
        "balanced_view": _balanced_view(logits, calibration, facts, test),
        "roc": roc_curves(truth, chances, names),
        "calibration": calibration_check(
            logits, truth, calibration, validation_logits, validation.classes
        ),
        "slices": slices_of(test, decided),
        "tokens": token_counts(test.lengths),
        "mistakes": worst_mistakes(test, decided, chances),
        "mistakes_in_all": int((truth != decided).sum()),
        "champion": comparison,
        "thresholds": {
            "accuracy": options.accuracy_threshold,
            "macro_f1": options.macro_f1_threshold,
            "champion_margin": options.champion_margin,
        },
        "gate": decision.to_dict(),
        "warnings": [*decision.warnings, *_warnings(confusion, names)],
        "reviews_per_second": reviews_per_second,
        "seconds": time.perf_counter() - started,
    }
    write_parquet(predictions, _predictions_table(test, decided, chances))
    write_json(summary, content)
    logger.info(
        "accuracy %.3f (always %s: %.3f), macro-F1 %.3f on %d test reviews; %s; gate %s",
        scores.accuracy.value,
        names[majority],
        majority_rate,
        scores.macro_f1.value,
        len(test),
        comparison["verdict"],
        "passed" if decision.passed else "closed",
    )
    return content


def _predict(
    model_folder: Path, test: HeldOut, validation: HeldOut, progress: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Logits of the test and validation splits, and reviews per second."""
    if (names := read_class_names(model_folder)) != test.labels.names:
        raise UserError(
            f"{model_folder} answers {', '.join(names)}, but the training set has "
            f"{', '.join(test.labels.names)}; train on this training set"
        )
    logger.info("asking the model about %d test reviews", len(test))
    started = time.perf_counter()
    reviews = pa.concat_tables([test.reviews, validation.reviews])
    tokens = [*test.input_ids, *validation.input_ids]
    logits = logits_of(model_folder, reviews, tokens, progress=progress)
    seconds = time.perf_counter() - started
    if not np.isfinite(logits).all():
        raise UserError(
            f"the logits of the model in {model_folder} are not finite: training diverged; train "
            "again with a lower learning rate"
        )
    return logits[: len(test)], logits[len(test) :], len(logits) / max(seconds, 1e-9)


def _balanced_view(
    logits: NDArray[np.float32],
    calibration: Calibration,
    facts: dict[str, Any],
    test: HeldOut,
) -> dict[str, Any]:
    """Scores if every class were equally frequent, with decisions made for that case.

    The mean of the per-class recalls is the accuracy on such data; resampling the test split down
    to equal classes would estimate the same with fewer rows.
    """
    prior = np.asarray(facts["class_prior"], dtype=np.float64)
    # A class that training never showed is never decided for, whatever its prior becomes.
    prior = np.where(prior > 0, prior, np.inf)
    confusion = confusion_matrix(
        test.classes, decide_under_prior(logits, calibration, prior), len(test.labels)
    )
    scores = score_intervals(confusion)
    return {
        "accuracy": scores.balanced_accuracy.to_dict(),
        "recall": [
            {"name": name, **scores.recall[index].to_dict()}
            for index, name in enumerate(test.labels.names)
        ],
        "confusion_matrix": confusion.tolist(),
        "class_prior": facts["class_prior"],
    }


def _scores_of_always(majority: int, confusion: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and macro-F1 of a model that always gives the most frequent class."""
    constant = np.zeros_like(confusion)
    constant[:, majority] = confusion.sum(axis=1)
    scores = scores_of(constant)
    return {"accuracy": float(scores.accuracy), "macro_f1": float(scores.macro_f1)}


def _warnings(confusion: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """What makes the scores themselves less trustworthy."""
    warnings = []
    for name, support in zip(names, confusion.sum(axis=1).tolist(), strict=True):
        if support == 0:
            warnings.append(
                f"The test split has no {name} review: macro-F1 is the mean of the other classes."
            )
        elif support < FEW_ROWS:
            warnings.append(
                f"The test split has only {support} {name} reviews: their scores are rough."
            )
    return warnings


def _predictions_table(
    test: HeldOut, decided: NDArray[np.int64], chances: NDArray[np.float64]
) -> pa.Table:
    """The test split's predictions in `predictions_schema`."""
    labels = test.labels
    sentiments = np.asarray(labels.values, dtype=np.int32)
    reviews = test.reviews
    return pa.table(
        {
            "review_id": reviews["review_id"],
            "title": reviews["title"],
            "review_body": reviews["review_body"],
            "product_category": reviews["product_category"],
            "sentiment": sentiments[test.classes],
            "predicted": sentiments[decided],
            "label": np.asarray(labels.names, dtype=object)[decided],
            **{f"p_{name}": column for name, column in zip(labels.names, chances.T, strict=True)},
        },
        schema=predictions_schema(labels),
    )
