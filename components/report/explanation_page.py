"""The page of explanations: single answers as coloured words, words by class, and the proof."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis, Series, line_chart
from components.report.formats import percent, signed
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json
from components.shared.records.explanation import OCCLUSION

SIDES = {True: ("for", "accent"), False: ("against", "second")}
"""How what a word adds is shown, by whether it speaks for the answer: words and colour."""

_FAINTEST = 0.06
_STRONGEST_WORDS = 5


def write_explanation_page(summary_json: str | Path, output: str | Path) -> None:
    """Write the page of what `components.evaluation.explanations.explain` wrote as JSON."""
    summary = read_json(summary_json)
    deletion = summary["deletion"]
    write_page(
        "explanation_page.html",
        output,
        headline_of(deletion),
        summary=summary,
        occlusion=OCCLUSION,
        deletion=deletion,
        curve=_curve(deletion["curve"]),
        words=[(one["name"], one["reviews"], _class_chart(one)) for one in _listed(summary)],
        right=[*map(coloured, summary["right"])],
        mistakes=[*map(coloured, summary["mistakes"])],
    )


def write_answer_page(answer: Mapping[str, Any], output: str | Path) -> None:
    """Write the page of one answer: an explanation as JSON, as the server gives it."""
    label, probability = answer["label"], answer["probabilities"][answer["label"]]
    said = f"The model gives this review a probability of {percent(probability)} for {label}."
    write_page("explanation_page.html", output, Headline("", label, said), single=coloured(answer))


def headline_of(deletion: Mapping[str, Any]) -> Headline:
    """Whether the words that explanations name are those that the answers rest on."""
    if deletion["value"] is None:
        why = "No review had words enough to delete some of them."
        return Headline("waiting", "The explanations could not be tested", why)
    holds = deletion["low"] > max(deletion["random"], 0)
    title = "The words that are named matter" if holds else "The explanations prove nothing"
    sentence = (
        "Without the words that an explanation names first, the probability of the answer falls by "
        f"{signed(deletion['value'])[1:]}; without as many words drawn by chance, by "
        f"{signed(deletion['random']).lstrip('+')}."
    )
    return Headline("good" if holds else "stopped", title, sentence)


def coloured(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with its words as (text, side, strength from 0 to 1, what it adds, joined).

    The strongest word of the answer has strength 1; faint ones have no side. `strongest` holds the
    words that add or take most, once each.
    """
    words = answer["words"]
    most = max((abs(word["attribution"]) for word in words), default=0.0)
    shown = []
    for word in words:
        strength = abs(word["attribution"]) / most if most else 0.0
        side = SIDES[word["attribution"] > 0][0] if strength >= _FAINTEST else ""
        joined = word.get("joined", False)
        shown.append((word["word"], side, round(strength, 2), word["attribution"], joined))
    strongest = sorted(words, key=lambda word: -abs(word["attribution"]))[:_STRONGEST_WORDS]
    return {**answer, "shown": shown, "strongest": strongest}


def _listed(summary: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return summary["important_words"]


def _curve(points: Sequence[Mapping[str, Any]]) -> Markup:
    """The fall of the probability over the share of words that was deleted."""
    kinds = (("words named first", "drop", "accent", False), ("by chance", "random", "soft", True))
    series = [
        Series(
            name,
            [(0.0, 0.0), *((100 * point["share"], point[key]["value"]) for point in points)],
            colour,
            dots=True,
            dashed=dashed,
        )
        for name, key, colour, dashed in kinds
    ]
    x, y = Axis("words deleted, in percent"), Axis("fall of the probability")
    return line_chart("Deletion curve", series, x, y) if points else Markup("")


def _class_chart(answer: Mapping[str, Any]) -> Markup:
    """The words of a class with their mean contributions."""
    rows = [
        IntervalRow(
            f"{word['word']} ({word['count']})",
            word["mean"],
            colour=SIDES[word["mean"] > 0][1],
            words=f"{word['count']} times in {word['reviews']} reviews",
        )
        for word in answer["words"]
    ]
    axis = Axis("mean contribution, log units")
    return interval_chart(f"Words of the answer {answer['name']}", rows, axis, 0.0)
