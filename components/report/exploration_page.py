"""The page of the data: what is in them, before anyone trusts a model of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis, Series, column_chart, line_chart
from components.report.formats import count, percent, points, sentence
from components.report.heatmap import heatmap
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.report.palette import class_colours
from components.report.profile_charts import lengths_chart, rating_rule, ratings_chart
from components.shared.machine.files import read_json

_MOST_CLASSES_COMPARED = 3


def write_exploration_page(summary: str | Path, output: str | Path) -> None:
    """Write the page of what exploring found.

    Args:
        summary: The JSON that exploring wrote.
        output: HTML file to write.
    """
    found = read_json(summary)
    profile, categories = found["profile"], found["categories"]
    colours, overall = class_colours(found["classes"]), categories["overall"]
    missing = sorted(profile["missing"].items(), key=lambda item: -item[1])
    write_page(
        "exploration_page.html",
        output,
        _headline(found),
        found=found,
        sizes=list(profile["sentiments"].items()),
        missing=[(name, rows) for name, rows in missing if 0 < rows < found["rows"]],
        never=[name for name, rows in missing if rows == found["rows"]],
        ratings=ratings_chart(profile),
        rating_rule=rating_rule(profile),
        ages=lengths_chart(profile["age"], "age of their writer"),
        words=lengths_chart(found["words"], "number of words"),
        tokens=lengths_chart(found["tokens"] or {}, "number of tokens"),
        map_of_categories=_map(categories, found["classes"]),
        overall=", ".join(f"{percent(share, 0)} {name}" for name, share in overall.items()),
        compared=_compared(categories, found["classes"], colours),
        telling=_telling(found["telling_words"], colours),
        course=_course(found["course"], colours),
        moments=[("first", found["course"]["first"]), ("last", found["course"]["last"])],
    )


def _headline(found: Mapping[str, Any]) -> Headline:
    """The most frequent class, and what somebody who trains on the data has to know."""
    sizes: Mapping[str, int] = found["profile"]["sentiments"]
    largest = max(sizes, key=sizes.__getitem__)
    rows = found["rows"]
    reviews = "review" if rows == 1 else "reviews"
    title = f"{count(rows)} {reviews}, {percent(sizes[largest] / rows, 0)} {largest}"
    sentences = [_on_categories(found["categories"], largest)]
    if cut := found["cut"]:
        sentences.append(
            f"{percent(cut['share'], 0)} of the texts end at about {count(cut['limit'])} "
            "characters, as if a form cut them off."
        )
    exact, near = (found["duplicates"][kind]["across_splits"] for kind in ("exact", "near"))
    similar = _standing(near, "pair of similar texts", "pairs of similar texts")
    sentences.append(
        sentence(f"{_standing(exact, 'text', 'texts')} in two splits; {similar} across them")
    )
    return Headline("waiting" if exact else "", title, " ".join(filter(None, sentences)))


def _standing(number: int, one: str, several: str) -> str:
    """How many of a thing stand somewhere."""
    if number > 1:
        return f"{count(number)} {several} stand"
    return f"{'1' if number else 'no'} {one} stands"


def _on_categories(categories: Mapping[str, Any], largest: str) -> str:
    """Which category differs most from the whole in the most frequent class, if one does surely."""
    whole = categories["overall"].get(largest, 0.0)
    rows = _with_shares(categories)
    apart = [
        (abs(share["value"] - whole), share["value"], _name(row))
        for row in rows
        if (share := row["shares"][largest])["apart"]
    ]
    if not apart:
        return "No category differs surely from the whole." if len(rows) > 1 else ""
    _, value, name = max(apart)
    return f"Reviews of {name} stand apart: {percent(value, 0)} {largest}."


def _name(row: Mapping[str, Any]) -> str:
    """What a row of categories is called."""
    if row["pooled"]:
        return f"{count(row['pooled'])} other" + ("s" if row["pooled"] > 1 else "")
    return "no category" if row["name"] is None else row["name"]


def _with_shares(categories: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows that have reviews enough; none if no category by itself has."""
    rows = [row for row in categories["rows"] if any(row["shares"].values())]
    return rows if any(row["name"] is not None for row in rows) else []


def _map(categories: Mapping[str, Any], classes: Sequence[str]) -> Markup:
    """How many percentage points more of each class each category has than all reviews."""
    rows = _with_shares(categories)
    values = [
        [row["shares"][name]["value"] - categories["overall"][name] for name in classes]
        for row in rows
    ]
    title = "Share of each class in each category, against all reviews, in percentage points"
    return heatmap(title, [*map(_name, rows)], classes, values, _whole_points)


def _whole_points(share: float) -> str:
    return points(round(share, 2))


def _compared(
    categories: Mapping[str, Any], classes: Sequence[str], colours: Mapping[str, str]
) -> list[tuple[str, Markup]]:
    """The categories by their share of a class; of many classes those that vary most."""
    rows = _with_shares(categories)
    if not rows:
        return []

    def varies(name: str) -> tuple[int, float]:
        shares = [row["shares"][name] for row in rows]
        values = [share["value"] for share in shares]
        return sum(share["apart"] for share in shares), max(values) - min(values)

    chosen = sorted(classes, key=varies, reverse=True)[:_MOST_CLASSES_COMPARED]
    return [
        (name, _intervals(rows, name, categories["overall"][name], colours[name]))
        for name in classes
        if name in chosen
    ]


def _intervals(rows: Sequence[Mapping[str, Any]], name: str, overall: float, colour: str) -> Markup:
    """Shares of one class, the highest first; those surely apart from the whole in its colour."""
    drawn = [
        IntervalRow(
            _name(row),
            *(100 * row["shares"][name][end] for end in ("value", "low", "high")),
            colour if row["shares"][name]["apart"] else "soft",
            words=f"{count(row['reviews'])} reviews",
        )
        for row in sorted(rows, key=lambda row: -row["shares"][name]["value"])
    ]
    title = f"Share of {name} reviews in each category"
    return interval_chart(title, drawn, Axis(f"{name}, % of the reviews"), 100 * overall)


def _telling(
    words: Mapping[str, Sequence[Mapping[str, Any]]], colours: Mapping[str, str]
) -> list[tuple[str, Markup]]:
    """The words of each class, on one scale."""
    ends = 0.0, max((word["high"] for each in words.values() for word in each), default=1.0)
    charts = []
    for name, listed in words.items():
        drawn = [
            IntervalRow(
                word["word"],
                *(word[end] for end in ("log_odds", "low", "high")),
                colours[name],
                words=f"in {count(word['reviews'])} reviews of the class, "
                f"{count(word['reviews_elsewhere'])} others",
            )
            for word in listed
        ]
        title = f"Words that tell {name} reviews from the others"
        charts.append((name, interval_chart(title, drawn, Axis("log-odds", ends))))
    return charts


def _course(course: Mapping[str, Any], colours: Mapping[str, str]) -> list[tuple[str, Markup]]:
    """Reviews, their mean rating and their classes over time; nothing if all dates are equal."""
    periods = course["periods"]
    if not periods:
        return []
    digits = {"day": 10, "month": 7, "year": 4}[course["unit"]]
    starts = [period["start"][:digits] for period in periods]
    unit, places = course["unit"], range(len(periods))
    per_period = [(start, each["reviews"]) for start, each in zip(starts, periods, strict=True)]
    rated = [(place, periods[place]["rating"]) for place in places if periods[place]["rating"]]
    along = Axis(f"{unit}s since {starts[0]}", (0, len(periods) - 1))
    mean = [
        Series(name, [(place, rating[end]) for place, rating in rated], dots=dots, dashed=not dots)
        for name, end, dots in (
            *(("mean rating", "value", True), ("lower end", "low", False)),
            *(("upper end of its interval", "high", False),),
        )
    ]
    shares = [
        Series(
            name,
            [(place, 100 * periods[place]["classes"][name] / periods[place]["reviews"])
             for place in places],
            colours[name],
        )
        for name in colours
    ]  # fmt: skip
    drawn = [
        ("Reviews", column_chart(f"Reviews by {unit}", per_period, unit, "reviews")),
        ("Mean rating", line_chart(f"Mean rating by {unit}", mean, along, Axis("stars"))),
        ("Classes", line_chart(f"Classes by {unit}", shares, along, Axis("% of the reviews"))),
    ]
    return [(heading, chart) for heading, chart in drawn if chart]
