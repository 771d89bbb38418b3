"""What a data set holds, as charts: ratings and lengths."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from components.report.charts import column_chart
from components.report.palette import class_colours


def ratings_chart(profile: Mapping[str, Any]) -> Markup:
    """Rows per star rating, in the colour of the class that follows from it; none without any."""
    ratings = profile.get("ratings") or []
    if not any(entry["count"] for entry in ratings):
        return Markup("")
    colours = class_colours(profile.get("sentiments") or [])
    columns = [(f"{entry['rating']} ★", entry["count"]) for entry in ratings]
    drawn = [colours.get(entry.get("class"), "accent") for entry in ratings]
    return column_chart("Reviews per rating", columns, "stars", "reviews", drawn)


def rating_rule(profile: Mapping[str, Any]) -> str:
    """Which ratings count as which class, in words; empty where none does."""
    stars: dict[str, list[str]] = {}
    for entry in profile.get("ratings") or []:
        if entry.get("class"):
            stars.setdefault(entry["class"], []).append(str(entry["rating"]))
    rules = [f"{' and '.join(ratings)} as {name}" for name, ratings in stars.items()]
    return f"Stars count as a class: {', '.join(rules)}." if rules else ""


def lengths_chart(lengths: Mapping[str, Any], what: str = "length of their text") -> Markup:
    """Rows per length, which is a histogram with its unit; empty bins at the end are left out."""
    bins = list(lengths.get("histogram") or [])
    while bins and not bins[-1]["count"]:
        bins.pop()
    columns = [(f"{entry['from']}", entry["count"]) for entry in bins]
    unit = lengths.get("unit") or "characters"
    return column_chart(f"Reviews per {what}", columns, f"{unit}, from", "reviews")
