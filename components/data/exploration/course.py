"""Ratings and classes over time, by day, month or year."""

from collections import Counter, defaultdict
from datetime import date
from typing import Any

from components.data.exploration.counts import Days
from components.shared.records.labels import LabelSet

_MOST_PERIODS = 60


def course_of(days: Days, labels: LabelSet) -> dict[str, Any]:
    """What was given in each period.

    Args:
        days: Reviews by date, class value and rating; those that have a date of their own.
        labels: The classes.

    Returns:
        `first` and `last` date (None without dates), `unit` and `periods`: each with its start,
        reviews, mean rating with the ends of its 95 % interval (None without two ratings), and
        reviews by class. If all dates are equal there are no periods.
    """
    dates = sorted({day for day, *_ in days})
    if len(dates) < 2:
        only = dates[0].isoformat() if dates else None
        return {"first": only, "last": only, "unit": None, "periods": []}
    first, last = dates[0], dates[-1]
    months = 12 * (last.year - first.year) + last.month - first.month
    unit = "year" if months > _MOST_PERIODS else "month" if (last - first).days > 60 else "day"
    ratings: dict[date, Counter[int]] = defaultdict(Counter)
    classes: dict[date, Counter[int]] = defaultdict(Counter)
    for (day, value, rating), count in days.items():
        start = day if unit == "day" else day.replace(day=1)
        start = start.replace(month=1) if unit == "year" else start
        classes[start][value] += count
        if rating is not None:
            ratings[start][rating] += count
    return {
        "first": first.isoformat(),
        "last": last.isoformat(),
        "unit": unit,
        "periods": [
            {
                "start": start.isoformat(),
                "reviews": classes[start].total(),
                "rating": _mean(ratings[start]),
                "classes": labels.counted(classes[start][value] for value in labels.values),
            }
            for start in sorted(classes)
        ],
    }


def _mean(ratings: Counter[int]) -> dict[str, float] | None:
    """Mean and the ends of its interval, within what ratings can be."""
    number = ratings.total()
    if number < 2:
        return None
    mean = sum(stars * count for stars, count in ratings.items()) / number
    squares = sum(count * (stars - mean) ** 2 for stars, count in ratings.items())
    margin = 1.96 * (squares / (number - 1) / number) ** 0.5
    return {"value": mean, "low": max(1.0, mean - margin), "high": min(5.0, mean + margin)}
