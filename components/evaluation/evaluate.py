"""Judge a model on the test split: everything that the gate, the report and the registry need."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.evaluation import gate
from components.evaluation.calibration import BINS, calibration_report
from components.evaluation.champion import Champion, find_champion, tokens_as_read_by
from components.evaluation.comparison import NO_CHAMPION, compare
from components.evaluation.held_out import HeldOut, read_held_out
from components.evaluation.intervals import CONFIDENCE, RESAMPLES, score_intervals
from components.evaluation.metrics import confusion_matrix, roc_curve_of, scores_of
from components.evaluation.mistakes import worst_mistakes
from components.evaluation.slices import length_slices, slice_scores
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json, write_parquet
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.decision import (
    Calibration,
    decide,
    decide_under_prior,
    fit_temperature,
    probabilities,
)
from components.shared.records.labels import CLASS_NAMES, SENTIMENTS
from components.shared.records.model_folder import (
    check_model_folder,
    read_calibration,
    read_training_facts,
)
from components.shared.records.reviews import PREDICTIONS_SCHEMA

log = logging.getLogger(__name__)

CLASSES = len(CLASS_NAMES)
FEW_ROWS = 20
TEMPERATURE_ROWS = 1000
"""Validation rows that the temperature is checked on: enough to see a wrong one, and quick."""
TEMPERATURE_TOLERANCE = 0.15
"""Largest log-ratio of the two temperatures that sampling explains."""


def evaluate(
    model_folder: Path,
    training_set: Path,
    prepared: Path,
    champion_folder: Path | None,
    predictions: Path,
    summary: Path,
    *,
    accuracy_threshold: float,
    macro_f1_threshold: float,
    champion_margin: float,
    most_mistakes: int = 20,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Judge a model on the test split and write its predictions and the summary.

    The test split is read here and nowhere else.

    Args:
        model_folder: What training wrote.
        training_set: Parquet of TRAINING_SET_SCHEMA.
        prepared: Parquet of PREPARED_SCHEMA: the texts of the same reviews.
        champion_folder: Model folder of the champion; None, missing or empty if there is none.
        predictions: Where to write the test split's predictions, PREDICTIONS_SCHEMA.
        summary: Where to write the summary as JSON.
        accuracy_threshold: Least accuracy that the gate lets pass.
        macro_f1_threshold: Least macro-F1 that the gate lets pass.
        champion_margin: Loss of macro-F1 against the champion that is let pass.
        most_mistakes: How many mistakes to list.
        seed: Of the bootstrap.
        progress: Whether to show progress bars.

    Returns:
        What was written to `summary`.

    Raises:
        UserError: If a threshold is no finite number, a folder is not whole, the test split is
            empty, or the model's logits are not finite.
    """
    started = time.perf_counter()
    gate.check_thresholds(accuracy_threshold, macro_f1_threshold, champion_margin)
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
    logits, validation_logits, reviews_per_second = _asked(model_folder, test, validation, progress)

    truth = test.classes
    decided = decide(logits, calibration)
    chances = probabilities(logits, calibration)
    confusion = confusion_matrix(truth, decided, CLASSES)
    scores = score_intervals(confusion, seed=seed)
    comparison = _compared_with(champion, test, decided, champion_margin, seed, progress)
    majority = int(confusion.sum(axis=1).argmax())
    majority_rate = float(confusion[majority].sum() / len(test))
    decision = gate.decide(
        scores.accuracy.value,
        scores.macro_f1.value,
        majority_rate,
        accuracy_threshold,
        macro_f1_threshold,
        comparison["verdict"],
    )
    content = {
        "rows": len(test),
        "classes": list(CLASS_NAMES),
        "majority_class": {"name": CLASS_NAMES[majority], "rate": majority_rate},
        "majority_scores": _scores_of_always(majority, confusion),
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": seed},
        "accuracy": scores.accuracy.value,
        "macro_f1": scores.macro_f1.value,
        "scores": scores.to_dict(),
        "per_class": [
            {
                "name": name,
                "support": int(confusion[index].sum()),
                "predicted": int(confusion[:, index].sum()),
                "precision": scores.precision[index].to_dict(),
                "recall": scores.recall[index].to_dict(),
                "f1": scores.f1[index].to_dict(),
            }
            for index, name in enumerate(CLASS_NAMES)
        ],
        "confusion_matrix": confusion.tolist(),
        "balanced_view": _balanced_view(logits, calibration, facts, truth, seed),
        "roc": _roc(truth, chances),
        "calibration": _calibration(
            logits, chances, truth, calibration, validation_logits, validation.classes
        ),
        "slices": _slices(test, decided, seed),
        "tokens": _token_counts(test),
        "mistakes": worst_mistakes(test.reviews, truth, decided, chances, most_mistakes),
        "mistakes_in_all": int((truth != decided).sum()),
        "champion": comparison,
        "thresholds": {
            "accuracy": accuracy_threshold,
            "macro_f1": macro_f1_threshold,
            "champion_margin": champion_margin,
        },
        "gate": decision.to_dict(),
        "warnings": [*decision.warnings, *_warnings(confusion)],
        "reviews_per_second": reviews_per_second,
        "seconds": time.perf_counter() - started,
    }
    write_parquet(predictions, _predictions_table(test, decided, chances))
    write_json(summary, content)
    log.info(
        "accuracy %.3f (always %s: %.3f), macro-F1 %.3f on %d test reviews; %s; gate %s",
        scores.accuracy.value,
        CLASS_NAMES[majority],
        majority_rate,
        scores.macro_f1.value,
        len(test),
        comparison["verdict"],
        "passed" if decision.passed else "closed",
    )
    return content


def _asked(
    model_folder: Path, test: HeldOut, validation: HeldOut, progress: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Logits of the test and validation splits, and reviews per second."""
    model = load_model(model_folder)
    if model.config.num_labels != CLASSES:
        raise UserError(
            f"{model_folder} has {model.config.num_labels} classes, not {CLASSES}; train again"
        )
    log.info("asking the model about %d test reviews", len(test))
    started = time.perf_counter()
    logits = predict_logits(model, [*test.input_ids, *validation.input_ids], progress=progress)
    seconds = time.perf_counter() - started
    if not np.isfinite(logits).all():
        raise UserError(
            f"the logits of the model in {model_folder} are not finite: training diverged; train "
            "again with a lower learning rate"
        )
    return logits[: len(test)], logits[len(test) :], len(logits) / max(seconds, 1e-9)


def _compared_with(
    champion: Champion | None,
    test: HeldOut,
    decided: NDArray[np.int64],
    margin: float,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """The comparison with the champion as JSON-ready values; the verdict alone without one."""
    if champion is None:
        return {"verdict": NO_CHAMPION, "margin": margin}
    log.info("asking the champion about the same reviews")
    input_ids = (
        test.input_ids if champion.reads_alike else tokens_as_read_by(champion, test.reviews)
    )
    logits = predict_logits(load_model(champion.folder), input_ids, progress=progress)
    of_champion = decide(logits, read_calibration(champion.folder))
    scores = scores_of(confusion_matrix(test.classes, of_champion, CLASSES))
    return {
        **compare(test.classes, decided, of_champion, CLASSES, margin, seed=seed).to_dict(),
        "champion_accuracy": float(scores.accuracy),
        "champion_macro_f1": float(scores.macro_f1),
        "champion_f1": scores.f1.tolist(),
        "may_have_seen_test": champion.may_have_seen_test,
        "reads_alike": champion.reads_alike,
    }


def _balanced_view(
    logits: NDArray[np.float32],
    calibration: Calibration,
    facts: dict[str, Any],
    truth: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Scores if every class were equally frequent, with decisions made for that case.

    The mean of the per-class recalls is the accuracy on such data; resampling the test split down
    to equal classes would estimate the same with fewer rows.
    """
    prior = np.asarray(facts["class_prior"], dtype=np.float64)
    # A class that training never showed cannot be decided for, whatever its prior becomes.
    prior = np.where(prior > 0, prior, np.inf)
    confusion = confusion_matrix(truth, decide_under_prior(logits, calibration, prior), CLASSES)
    scores = score_intervals(confusion, seed=seed)
    return {
        "accuracy": scores.balanced_accuracy.to_dict(),
        "recall": [
            {"name": name, **scores.recall[index].to_dict()}
            for index, name in enumerate(CLASS_NAMES)
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


def _roc(truth: NDArray[np.int64], chances: NDArray[np.float64]) -> list[dict[str, Any]]:
    """ROC curve of each class against the rest; without points where a class is absent."""
    curves = []
    for index, name in enumerate(CLASS_NAMES):
        curve = roc_curve_of(truth == index, chances[:, index])
        curves.append(
            {
                "name": name,
                "auc": curve.auc if curve else None,
                "false_positive_rate": curve.false_positive_rate if curve else [],
                "true_positive_rate": curve.true_positive_rate if curve else [],
                "threshold": curve.threshold if curve else [],
            }
        )
    return curves


def _calibration(
    logits: NDArray[np.float32],
    chances: NDArray[np.float64],
    truth: NDArray[np.int64],
    calibration: Calibration,
    validation_logits: NDArray[np.float32],
    validation_truth: NDArray[np.int64],
) -> dict[str, Any]:
    """Calibration on test before and after temperature scaling, and a check of the temperature."""
    refitted = fit_temperature(validation_logits, validation_truth)
    agrees = abs(np.log(calibration.temperature / refitted)) <= TEMPERATURE_TOLERANCE
    if not agrees:
        log.warning(
            "the model folder says temperature %.3f, but validation gives %.3f",
            calibration.temperature,
            refitted,
        )
    return {
        "temperature": calibration.temperature,
        "temperature_refitted": refitted,
        "temperature_agrees": bool(agrees),
        "decision_offsets": list(calibration.decision_offsets),
        "bins": BINS,
        "binning": "bins of equally many rows, by the probability of the most probable class",
        "before": calibration_report(truth, probabilities(logits, Calibration())),
        "after": calibration_report(truth, chances),
    }


def _slices(
    test: HeldOut, decided: NDArray[np.int64], seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Scores per product category, per length and with or without a title."""
    categories = [name or "no category" for name in test.reviews["product_category"].to_pylist()]
    tokens = np.fromiter(map(len, test.input_ids), dtype=np.int64, count=len(test))
    titles = [
        "with title" if (title or "").strip() else "without title"
        for title in test.reviews["title"].to_pylist()
    ]
    named = {"category": categories, "length": length_slices(tokens), "title": titles}
    slices = {
        kind: slice_scores(test.classes, decided, names, CLASSES, seed=seed)
        for kind, names in named.items()
    }
    # Lengths read best from short to long.
    slices["length"].sort(key=lambda entry: _first_number(entry["name"]))
    return slices


def _token_counts(test: HeldOut) -> dict[str, Any]:
    """Tokens per test review: mean, largest, and a histogram in bins of equal width."""
    tokens = np.fromiter(map(len, test.input_ids), dtype=np.int64, count=len(test))
    width = max(1, int(np.ceil((tokens.max() + 1) / 16)))
    return {
        "mean": float(tokens.mean()),
        "largest": int(tokens.max()),
        "histogram": [
            {"from": number * width, "below": (number + 1) * width, "rows": rows}
            for number, rows in enumerate(np.bincount(tokens // width).tolist())
        ],
    }


def _first_number(name: str) -> float:
    """The number that a slice's name starts with; infinity where it does not."""
    word = name.split(" ", 1)[0]
    return float(word) if word.isdigit() else float("inf")


def _warnings(confusion: NDArray[np.int64]) -> list[str]:
    """What makes the scores themselves less trustworthy."""
    warnings = []
    for name, support in zip(CLASS_NAMES, confusion.sum(axis=1).tolist(), strict=True):
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
    """The test split's predictions in PREDICTIONS_SCHEMA."""
    sentiments = np.asarray(SENTIMENTS, dtype=np.int32)
    reviews = test.reviews
    return pa.table(
        {
            "review_id": reviews["review_id"],
            "title": reviews["title"],
            "review_body": reviews["review_body"],
            "product_category": reviews["product_category"],
            "sentiment": sentiments[test.classes],
            "predicted": sentiments[decided],
            "label": np.asarray(CLASS_NAMES, dtype=object)[decided],
            "p_negative": chances[:, 0],
            "p_neutral": chances[:, 1],
            "p_positive": chances[:, 2],
        },
        schema=PREDICTIONS_SCHEMA,
    )
