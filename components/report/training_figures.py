"""The charts of the report, drawn from the summaries; a chart without its data is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.report.charts import Series, column_chart, line_chart, scale_chart


def figures_of(
    ingest: Mapping[str, Any], training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> dict[str, Markup]:
    """Every chart by name.

    Args:
        ingest: The ingest summary.
        training: `training.json` of the model folder.
        evaluation: The evaluation summary.

    Returns:
        SVG by name; an empty one where its numbers are missing.
    """
    profile = ingest.get("profile") or {}
    history = training.get("history") or []
    best = _best_step(training, history)
    return {
        "ratings": _ratings(profile),
        "lengths": _lengths(profile),
        "tokens": _tokens(evaluation.get("tokens") or {}),
        "loss": line_chart(
            "Loss over the steps",
            [
                Series("training", _points(history, "train_loss"), "c2", dots=True),
                Series("validation", _points(history, "validation_loss"), "c1", dots=True),
            ],
            x_label="step",
            y_label="loss (nats)",
            mark_x=best,
        ),
        "quality": line_chart(
            "Validation scores over the steps",
            [
                Series("accuracy", _points(history, "accuracy"), "c2", dots=True),
                Series("macro-F1", _points(history, "macro_f1"), "c1", dots=True),
            ],
            x_label="step",
            y_label="validation score",
            mark_x=best,
        ),
        "accuracy": _scale(evaluation, "accuracy", "Accuracy"),
        "macro_f1": _scale(evaluation, "macro_f1", "Macro-F1"),
        "roc": _roc(evaluation.get("roc") or []),
        "reliability": _reliability(evaluation.get("calibration") or {}),
    }


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
    styles = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}
    return column_chart(
        "Reviews per rating",
        [(f"{entry['rating']} ★", entry["count"]) for entry in ratings],
        x_label="stars",
        y_label="reviews",
        styles=[styles.get(entry["rating"], "c1") for entry in ratings],
    )


def _lengths(profile: Mapping[str, Any]) -> Markup:
    """Rows per text length; empty bins at the end are left out."""
    bins = list((profile.get("text_length") or {}).get("histogram") or [])
    while bins and not bins[-1]["count"]:
        bins.pop()
    return column_chart(
        "Reviews per length of their text",
        [(f"{entry['from']}", entry["count"]) for entry in bins],
        x_label="characters, from",
        y_label="reviews",
    )


def _tokens(tokens: Mapping[str, Any]) -> Markup:
    """Test reviews per number of tokens."""
    return column_chart(
        "Test reviews per number of tokens",
        [(f"{entry['from']}", entry["rows"]) for entry in tokens.get("histogram") or []],
        x_label="tokens, from",
        y_label="test reviews",
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
        marks.append((baseline, f"majority class {baseline:.3f}", "baseline"))
    if threshold is not None:
        marks.append((threshold, f"threshold {threshold:.3f}", "threshold"))
    met = threshold is None or estimate["value"] >= threshold
    return scale_chart(
        title,
        (estimate["value"], estimate["low"], estimate["high"]),
        marks,
        "good" if met else "bad",
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
        x_label="false positive rate",
        y_label="true positive rate",
        x_range=(0, 1),
        y_range=(0, 1),
        diagonal=True,
    )


def _reliability(calibration: Mapping[str, Any]) -> Markup:
    """Confidence against accuracy, before and after temperature scaling."""
    lines = [
        Series(
            when,
            [
                (point["confidence"], point["accuracy"])
                for point in (calibration.get(when) or {}).get("reliability") or []
            ],
            style,
            dots=True,
            dashed=when == "before",
        )
        for when, style in (("before", "c2"), ("after", "c1"))
    ]
    values = [value for line in lines for point in line.points for value in point]
    low = max(0.0, min(values, default=0.0) - 0.05)
    return line_chart(
        "Confidence against accuracy",
        lines,
        x_label="confidence",
        y_label="accuracy",
        x_range=(low, 1),
        y_range=(low, 1),
        diagonal=True,
    )
