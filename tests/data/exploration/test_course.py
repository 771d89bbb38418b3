from collections import Counter
from datetime import date, timedelta

import pytest

from components.data.exploration.course import course_of
from components.shared.records.labels import SENTIMENTS


def days(*dates, rating=5):
    return Counter((day, 1, rating) for day in dates)


def test_equal_dates_and_none_have_no_course():
    assert course_of(Counter(), SENTIMENTS) == {
        **{"first": None, "last": None, "unit": None, "periods": []}
    }
    found = course_of(Counter({(date(2024, 2, 3), 1, 5): 9}), SENTIMENTS)
    assert (found["first"], found["periods"]) == ("2024-02-03", [])


@pytest.mark.parametrize(
    ("span", "unit", "first"),
    [(30, "day", "2023-12-31"), (400, "month", "2023-12-01"), (4_000, "year", "2023-01-01")],
)
def test_the_longer_the_span_the_longer_the_periods(span, unit, first):
    start = date(2023, 12, 31)
    found = course_of(days(start, start + timedelta(span)), SENTIMENTS)
    assert found["unit"] == unit
    assert found["periods"][0]["start"] == first
    assert found["first"] == "2023-12-31"


def test_a_period_has_its_mean_rating_and_classes():
    month, next_month = date(2024, 1, 5), date(2024, 6, 7)
    counted = Counter({(month, 1, 5): 3, (month, -1, 1): 1, (next_month, 0, None): 2})
    first, last = course_of(counted, SENTIMENTS)["periods"]
    assert first["reviews"] == 4
    assert first["rating"]["value"] == 4.0
    assert 1.0 <= first["rating"]["low"] < 4.0 < first["rating"]["high"] == 5.0
    assert first["classes"] == {"negative": 1, "neutral": 0, "positive": 3}
    assert last == {
        "start": "2024-06-01",
        "reviews": 2,
        "rating": None,
        "classes": {"negative": 0, "neutral": 2, "positive": 0},
    }
