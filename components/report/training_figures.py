"""The charts of the training report; a chart without its data is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis, Series, column_chart, line_chart, scale_chart
from components.report.palette import class_colours
from components.report.profile_charts import lengths_chart, rating_rule, ratings_chart

ROWS_PER_POINT = 30
"""Fewer rows say little of an accuracy: points of the calibration curve are put together."""


def figures_of(
    ingest: Mapping[str, Any], training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> dict[str, Any]:
    """Every chart by name; `curves` has (heading, chart, note) of those of the training history."""
    profile = ingest.get("profile") or {}
    return {
        "ratings": ratings_chart(profile),
        "rating_rule": rating_rule(profile),
        "lengths": lengths_chart(profile.get("text_length") or {}),
        "tokens": _tokens(evaluation.get("tokens") or {}),
        "curves": [curve for curve in _curves(training) if curve[1]],
        "accuracy": _scale(evaluation, "accuracy", "Accuracy"),
        "macro_f1": _scale(evaluation, "macro_f1", "Macro-F1"),
        "roc": _roc(evaluation.get("roc") or []),
        "reliability": _reliability(evaluation.get("calibration") or {}),
    }


def _curves(training: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """Losses and scores over the steps; both losses share a chart where they are one quantity."""
    history, best = training.get("history") or [], None
    if (training.get("best") or {}).get("step") is not None:
        best = float(training["best"]["step"]), "kept"
    fitted = Series("training", _points(history, "train_loss"), "second", dots=True)
    held_out = Series("validation", _points(history, "validation_loss"), dots=True)
    scores = [
        Series("accuracy", _points(history, "accuracy"), "second", dots=True),
        Series("macro-F1", _points(history, "macro_f1"), dots=True),
    ]
    added = _added_to_the_loss(training.get("options") or {})
    minimised = f"What training minimises: cross-entropy with {' and '.join(added)}."
    plain = "Plain cross-entropy, so not on the scale of the training loss."
    nats = "loss (nats)"
    drawn = [("Loss", [fitted, held_out], nats, "Both are cross-entropy.")]
    if added:
        drawn = [
            ("Training loss", [fitted], nats, minimised),
            ("Validation loss", [held_out], nats, plain),
        ]
    return [
        (title, line_chart(title, lines, Axis("step"), Axis(unit), mark=best), note)
        for title, lines, unit, note in [*drawn, ("Scores on validation", scores, "score", "")]
    ]


def _added_to_the_loss(options: Mapping[str, Any]) -> list[str]:
    """What sets the training loss apart from plain cross-entropy."""
    terms = {
        "class weights": options.get("class_weights", "none") != "none",
        "label smoothing": options.get("label_smoothing"),
        "the loss of the star rating": options.get("rating_loss_weight"),
    }
    added = [words for words, there in terms.items() if there]
    return [", ".join(added[:-1]), added[-1]] if len(added) > 1 else added


def _points(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """(step, value) of the records that have the key; their position stands in for the step."""
    return [
        (float(record.get("step", position)), float(record[key]))
        for position, record in enumerate(history, 1)
        if isinstance(record.get(key), int | float)
    ]


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
    marks = [
        (share, f"{words} {share:.3f}", words == "threshold")
        for share, words in ((baseline, "majority class"), (threshold, "threshold"))
        if share is not None
    ]
    met = threshold is None or estimate["value"] >= threshold
    ends = estimate["value"], estimate["low"], estimate["high"]
    return scale_chart(title, ends, marks, "positive" if met else "negative")


def _roc(curves: Sequence[Mapping[str, Any]]) -> Markup:
    """Each class against the rest."""
    rates = "false_positive_rate", "true_positive_rate"
    colours = class_colours(curve["name"] for curve in curves)
    lines = [
        Series(name, [*zip(*map(curve.get, rates), strict=True)], colours[name])
        for name, curve in zip(colours, curves, strict=True)
    ]
    return line_chart(
        "ROC curves, each class against the rest",
        lines,
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
    values = [value for point in (*before, *after) for value in point]
    ends = max(0.0, min(values, default=0.0) - 0.05), 1.0
    return line_chart(
        "Confidence against accuracy",
        [Series("before", before, "second", dashed=True), Series("after", after, dots=True)],
        Axis("confidence", ends),
        Axis("accuracy", ends),
        diagonal=True,
    )


def _put_together(points: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(confidence, accuracy) of neighbours that together have rows enough."""
    groups = [[0, 0.0, 0.0]]  # rows, sum of confidences, right answers
    for point in points:
        if groups[-1][0] >= ROWS_PER_POINT:
            groups.append([0, 0.0, 0.0])
        for index, share in enumerate((1, point["confidence"], point["accuracy"])):
            groups[-1][index] += point["rows"] * share
    if len(groups) > 1 and groups[-1][0] < ROWS_PER_POINT:
        rest = groups.pop()
        groups[-1] = [a + b for a, b in zip(groups[-1], rest, strict=True)]
    return [(confidence / rows, right / rows) for rows, confidence, right in groups if rows]
