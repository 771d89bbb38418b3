"""The charts of the training report; a chart without its data is left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis, Series, column_chart, line_chart, scale_chart

ROWS_PER_POINT = 30
"""Fewer rows say little of an accuracy: points of the calibration curve are put together."""


def figures_of(
    ingest: Mapping[str, Any], training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> dict[str, Any]:
    """Every chart by name, empty where its numbers are missing.

    Args:
        ingest: The ingest summary.
        training: `training.json` of the model folder.
        evaluation: The evaluation summary.

    Returns:
        SVG by name; `curves` has (heading, SVG, note) of each chart of the training history.
    """
    profile = ingest.get("profile") or {}
    return {
        "ratings": _ratings(profile),
        "lengths": _lengths(profile),
        "tokens": _tokens(evaluation.get("tokens") or {}),
        "curves": [curve for curve in _curves(training) if curve[1]],
        "accuracy": _scale(evaluation, "accuracy", "Accuracy"),
        "macro_f1": _scale(evaluation, "macro_f1", "Macro-F1"),
        "roc": _roc(evaluation.get("roc") or []),
        "reliability": _reliability(evaluation.get("calibration") or {}),
    }


def _curves(training: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """Losses and scores over the steps; both losses share a chart where they are one quantity."""
    history = training.get("history") or []
    best = _best_step(training, history)
    x, nats = Axis("step"), Axis("loss (nats)")
    fitted = Series("training", _points(history, "train_loss"), "second", dots=True)
    held_out = Series("validation", _points(history, "validation_loss"), dots=True)
    added = _added_to_the_loss(training.get("options") or {})
    if added:
        note = f"What training minimises: cross-entropy with {' and '.join(added)}."
        losses = [
            ("Training loss", line_chart("Training loss", [fitted], x, nats, mark=best), note),
            (
                "Validation loss",
                line_chart("Validation loss", [held_out], x, nats, mark=best),
                "Plain cross-entropy, so not on the scale of the training loss.",
            ),
        ]
    else:
        both = line_chart("Loss over the steps", [fitted, held_out], x, nats, mark=best)
        losses = [("Loss", both, "Both are cross-entropy.")]
    scores = line_chart(
        "Validation scores over the steps",
        [
            Series("accuracy", _points(history, "accuracy"), "second", dots=True),
            Series("macro-F1", _points(history, "macro_f1"), dots=True),
        ],
        x,
        Axis("validation score"),
        mark=best,
    )
    return [*losses, ("Scores on validation", scores, "")]


def _added_to_the_loss(options: Mapping[str, Any]) -> list[str]:
    """What sets the training loss apart from plain cross-entropy."""
    added = []
    if options.get("class_weights", "none") != "none":
        added.append("class weights")
    if options.get("label_smoothing"):
        added.append("label smoothing")
    if options.get("rating_loss_weight"):
        added.append("the loss of the star rating")
    return [", ".join(added[:-1]), added[-1]] if len(added) > 1 else added


def _points(history: Any, key: str) -> list[tuple[float, float]]:
    """(step, value) of the records that have the key; their position stands in for the step."""
    records = history if isinstance(history, Sequence) and not isinstance(history, str) else []
    return [
        (float(record.get("step", position + 1)), float(record[key]))
        for position, record in enumerate(records)
        if isinstance(record, Mapping) and isinstance(record.get(key), int | float)
    ]


def _best_step(training: Mapping[str, Any], history: Any) -> tuple[float, str] | None:
    """Where the kept weights are from: as training says, else the best macro-F1."""
    best = training.get("best")
    if isinstance(best, Mapping) and isinstance(best.get("step"), int | float):
        return float(best["step"]), "kept"
    points = _points(history, "macro_f1")
    return (max(points, key=lambda point: point[1])[0], "kept") if points else None


def _ratings(profile: Mapping[str, Any]) -> Markup:
    """Rows per star rating, in the colour of the sentiment that follows from it."""
    ratings = profile.get("ratings") or []
    colours = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}
    return column_chart(
        "Reviews per rating",
        [(f"{entry['rating']} ★", entry["count"]) for entry in ratings],
        "stars",
        "reviews",
        [colours.get(entry["rating"], "accent") for entry in ratings],
    )


def _lengths(profile: Mapping[str, Any]) -> Markup:
    """Rows per text length; empty bins at the end are left out."""
    bins = list((profile.get("text_length") or {}).get("histogram") or [])
    while bins and not bins[-1]["count"]:
        bins.pop()
    columns = [(f"{entry['from']}", entry["count"]) for entry in bins]
    return column_chart("Reviews per length of their text", columns, "characters, from", "reviews")


def _tokens(tokens: Mapping[str, Any]) -> Markup:
    """Test reviews per number of tokens."""
    columns = [(f"{entry['from']}", entry["rows"]) for entry in tokens.get("histogram") or []]
    return column_chart(
        "Test reviews per number of tokens", columns, "tokens, from", "test reviews"
    )


def _scale(evaluation: Mapping[str, Any], name: str, title: str) -> Markup:
    """A score with its interval beside the gate's threshold and the constant answer's score."""
    estimate = (evaluation.get("scores") or {}).get(name)
    if not estimate:
        return Markup("")
    threshold = (evaluation.get("thresholds") or {}).get(name)
    baseline = (evaluation.get("majority_scores") or {}).get(name)
    marks = []
    if baseline is not None:
        marks.append((baseline, f"majority class {baseline:.3f}", False))
    if threshold is not None:
        marks.append((threshold, f"threshold {threshold:.3f}", True))
    met = threshold is None or estimate["value"] >= threshold
    return scale_chart(
        title,
        (estimate["value"], estimate["low"], estimate["high"]),
        marks,
        "positive" if met else "negative",
    )


def _roc(curves: Sequence[Mapping[str, Any]]) -> Markup:
    """Each class against the rest."""
    return line_chart(
        "ROC curves, each class against the rest",
        [
            Series(
                curve["name"],
                list(zip(curve["false_positive_rate"], curve["true_positive_rate"], strict=True)),
                curve["name"],
            )
            for curve in curves
        ],
        Axis("false positive rate", (0, 1)),
        Axis("true positive rate", (0, 1)),
        diagonal=True,
    )


def _reliability(calibration: Mapping[str, Any]) -> Markup:
    """Confidence against accuracy, before and after temperature scaling."""
    before, after = (
        _put_together((calibration.get(when) or {}).get("reliability") or [])
        for when in ("before", "after")
    )
    lines = [
        Series("before", [point for point, _ in before], "second", dashed=True),
        Series("after", [point for point, _ in after], dots=True, spans=[s for _, s in after]),
    ]
    ends = [value for line in lines for point in line.points for value in point]
    low = max(0.0, min([*ends, *(span[0] for _, span in after)], default=0.0) - 0.03)
    return line_chart(
        "Confidence against accuracy",
        lines,
        Axis("confidence", (max(0.0, min(ends, default=0.0) - 0.03), 1)),
        Axis("accuracy", (low, 1)),
        diagonal=True,
    )


def _put_together(
    points: Sequence[Mapping[str, Any]],
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """((confidence, accuracy), 95 % interval of the accuracy) of neighbours with rows enough."""
    groups: list[list[float]] = []  # rows, sum of confidences, right answers
    for point in points:
        rows = point["rows"]
        more = [rows, rows * point["confidence"], rows * point["accuracy"]]
        if groups and groups[-1][0] < ROWS_PER_POINT:
            groups[-1] = [a + b for a, b in zip(groups[-1], more, strict=True)]
        elif rows:
            groups.append(more)
    if len(groups) > 1 and groups[-1][0] < ROWS_PER_POINT:
        last = groups.pop()
        groups[-1] = [a + b for a, b in zip(groups[-1], last, strict=True)]
    return [
        ((confidence / rows, right / rows), _wilson(right, rows))
        for rows, confidence, right in groups
    ]


def _wilson(right: float, rows: float, z: float = 1.96) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927)."""
    share, spread = right / rows, z * z / rows
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return middle - half, middle + half
