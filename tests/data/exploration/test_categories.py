import pytest

from components.data.exploration.categories import LEAST_REVIEWS, MOST_CATEGORIES, category_shares

WHOLE = {"negative": 2_000, "positive": 8_000}


def profile(*counts, in_all=None, whole=WHOLE):
    categories = [
        {
            "category": name,
            "count": negative + positive,
            "classes": {"negative": negative, "positive": positive},
        }
        for name, negative, positive in counts
    ]
    in_all = len(counts) if in_all is None else in_all
    return {"sentiments": whole, "categories": categories, "categories_in_all": in_all}


def test_only_a_category_that_differs_surely_stands_apart():
    found = category_shares(profile(("A", 900, 1_100), ("B", 21, 79), ("C", 1_079, 6_821)))
    apart = {row["name"]: row["shares"]["negative"]["apart"] for row in found["rows"]}
    assert apart == {"A": True, "B": False, "C": True}
    share = found["rows"][0]["shares"]["negative"]
    assert share["low"] < share["value"] == 0.45 < share["high"]
    assert found["overall"] == {"negative": 0.2, "positive": 0.8}


def test_more_categories_widen_all_intervals():
    few = category_shares(profile(("A", 200, 800)))
    many = category_shares(profile(*[(f"A{n}", 200, 800) for n in range(10)]))
    widths = [
        found["rows"][0]["shares"]["negative"]["high"]
        - found["rows"][0]["shares"]["negative"]["low"]
        for found in (few, many)
    ]
    assert widths[0] * 1.2 < widths[1]


def test_the_interval_is_the_textbooks():
    found = category_shares(profile(("A", 5, 20), whole={"negative": 5, "positive": 20}))
    share = found["rows"][0]["shares"]["negative"]
    # Wilson's interval of 5 in 25 at 97.5 %, as there are two intervals.
    assert (share["low"], share["high"]) == pytest.approx((0.0791, 0.4214), abs=2e-4)


def test_small_and_further_categories_are_put_together():
    counts = [(f"A{n}", 10, 40) for n in range(MOST_CATEGORIES + 3)] + [("tiny", 1, 1)]
    found = category_shares(profile(*counts, in_all=10_000))
    assert len(found["rows"]) == MOST_CATEGORIES + 1
    last = found["rows"][-1]
    assert (last["name"], last["pooled"]) == (None, 10_000 - MOST_CATEGORIES)
    assert last["reviews"] == 10_000 - 50 * MOST_CATEGORIES
    assert found["in_all"] == 10_000


def test_few_reviews_are_too_few_to_say():
    found = category_shares(
        profile(("A", 1, LEAST_REVIEWS - 2), whole={"negative": 1, "positive": 18})
    )
    assert [row["shares"] for row in found["rows"]] == [{"negative": None, "positive": None}]


def test_no_category_at_all_leaves_nothing():
    found = category_shares(profile((None, 2_000, 8_000), in_all=0))
    assert [(row["name"], row["pooled"]) for row in found["rows"]] == [(None, 0)]
