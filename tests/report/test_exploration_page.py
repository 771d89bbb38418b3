"""The page of the data: what it says first, and what it says of data that lack things."""

import copy

import pytest

from components.report.exploration_page import write_exploration_page
from tests.report.reading import places

NAMES = ("negative", "neutral", "positive")


def share(value, *, apart=False):
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "apart": apart}


def category(name, *values, reviews=500, pooled=0, apart=()):
    shares = {
        one: share(value, apart=one in apart) for one, value in zip(NAMES, values, strict=True)
    }
    return {"name": name, "reviews": reviews, "pooled": pooled, "shares": shares}


def spread(unit, *counts):
    bins = [{"from": 10 * n, "below": 10 * n + 10, "count": rows} for n, rows in enumerate(counts)]
    return {"unit": unit, "mean": 63.2, "quantiles": {"p50": 62, "p100": 121}, "histogram": bins}


def word(text, odds):
    counts = {"reviews": 100, "reviews_elsewhere": 7}
    return {"word": text, "log_odds": odds, "low": odds - 0.2, "high": odds + 0.2, **counts}


TOO_FEW = {"name": "<b>Tiny</b>", "reviews": 3, "pooled": 0, "shares": dict.fromkeys(NAMES)}
PAIR = {
    "similarity": 0.875,
    "texts": ["<script>alert(1)</script> a long text", "a long text"],
    "splits": ["train", "test"],
    "classes": ["neutral", "positive"],
}
FOUND = {
    "classes": list(NAMES),
    "rows": 1_000,
    "weak_labels": 0,
    "splits": dict.fromkeys(("train", "validation", "test"), dict.fromkeys(NAMES, 10)),
    "profile": {
        "ratings": [{"rating": n, "count": 100 * n, "class": None} for n in range(1, 6)],
        "sentiments": {"negative": 110, "neutral": 120, "positive": 770},
        "missing": {"title": 130, "product_category": 4, "age": 0, "review_body": 0},
        "age": spread("years", 0, 5, 30),
    },
    "words": spread("words", 3, 5, 9),
    "tokens": spread("tokens", 5, 6)
    | {"base_model": "minilm", "max_tokens": 160, "longer": 0.0004, "reviews": 500},
    "characters": {"not_ascii": 13, "mostly_not_latin": 0},
    "categories": {
        "rows": [
            category("Dresses", 0.1, 0.1, 0.8),
            category("<i>Jeans</i>", 0.05, 0.1, 0.85, apart=("positive",)),
            category(None, 0.2, 0.1, 0.7, pooled=3),
            TOO_FEW,
        ],
        "overall": {"negative": 0.11, "neutral": 0.12, "positive": 0.77},
        "in_all": 6,
    },
    "course": {"first": None, "last": None, "unit": None, "periods": [], "undated": 1_000},
    "cut": {
        **{"limit": 500, "texts": 212, "share": 0.212},
        **{"open_ends": 0.9, "open_ends_of_others": 0.06},
    },
    "sampled": 1_000,
    "telling_words": {
        "negative": [word("<u>poor</u>", 2.0), word("cheap", 1.5)],
        "neutral": [],
        "positive": [word("love", 1.0)],
    },
    "duplicates": {
        "exact": {"repeated": 6, "across_splits": 0},
        "near": {
            **{"pairs": 8, "across_splits": 2, "of_different_classes": 1, "complete": True},
            "examples": [PAIR],
        },
    },
}


def period(start, rating):
    interval = {"value": rating, "low": rating - 0.2, "high": rating + 0.2}
    classes = {"negative": 2, "neutral": 2, "positive": 6}
    return {"start": start, "reviews": 10, "rating": interval, "classes": classes}


@pytest.fixture
def read(page_of):
    def page(**changes):
        return page_of(write_exploration_page, copy.deepcopy(FOUND) | changes)

    return page


def test_the_first_lines_say_what_matters_most(read):
    page = read()
    page.tells(
        "1,000 reviews, 77 % positive",
        "Reviews of <i>Jeans</i> stand apart: 85 % positive.",
        "21 % of the texts end at about 500 characters, as if a form cut them off.",
        "No text stands in two splits; 2 pairs of similar texts stand across them.",
    )
    assert page.attributes("header") == [{"class": "hero "}]


def test_a_text_in_two_splits_is_an_alarm(read):
    near = FOUND["duplicates"]["near"] | {"across_splits": 0}
    page = read(duplicates={"exact": {"repeated": 6, "across_splits": 1}, "near": near})
    page.tells("1 text stands in two splits; no pair of similar texts stands across them.")
    assert page.attributes("header") == [{"class": "hero waiting"}]


def test_markup_of_a_review_stays_text(read):
    page = read()
    assert not {"script", "b", "i", "u"} & {tag for tag, _ in page.tags}
    page.tells("<script>alert(1)</script> a long text")


def test_a_category_in_colour_is_one_that_differs(read):
    (chart,) = [c for c in read().charts if c.findtext("title").startswith("Share of positive")]
    assert len(places(chart, "positive")) == 2, "the interval and the dot of Jeans"
    tips = [circle.findtext("title") for circle in chart.findall("circle")]
    assert tips[0] == "<i>Jeans</i>: 85, 80 to 90 (500 reviews)"
    assert [tip.split(":")[0] for tip in tips[1:]] == ["Dresses", "3 others"]


def test_the_map_shows_how_far_from_the_whole_each_category_is(read):
    (chart,) = [c for c in read().charts if "percentage points" in c.findtext("title")]
    assert "Dresses: negative \u22121, neutral \u22122, positive +3;" in chart.findtext("desc")


def test_words_of_all_classes_are_on_one_scale_and_none_is_said(read):
    page = read()
    charts = [c for c in page.charts if c.findtext("title").startswith("Words that tell")]
    ends = [[text.text for text in chart.iter("text")] for chart in charts]
    assert all("2" in ticks for ticks in ends)
    page.tells("Words of neutral: none is beyond doubt")


def test_weak_labels_are_said_to_be_there(read):
    assert "are weak" not in read().text
    assert "40 of these labels are weak" in read(weak_labels=40).text


def test_a_tokenizer_of_another_language_is_named(read):
    assert "was not made for" not in read().text
    page = read(tokens=FOUND["tokens"] | {"mean": 340.0})
    page.tells("The tokenizer of minilm needs 5.4 tokens a word")


def test_no_near_pair_is_said_plainly(read):
    near = {"pairs": 0, "across_splits": 0, "of_different_classes": 0, "complete": True}
    page = read(duplicates=FOUND["duplicates"] | {"near": near | {"examples": []}})
    page.tells("No two texts are nearly the same")


def test_ratings_have_a_course_where_there_are_dates(read):
    assert "the data have no dates" in read().text
    dated = {"first": "2024-01-03", "last": "2024-03-09", "undated": 5}
    assert "all dates are equal (2024-01-03)" in read(course=FOUND["course"] | dated).text
    periods = [period("2024-01-01", 4.0), period("2024-02-01", 4.5), period("2024-03-01", 3.0)]
    page = read(course=dated | {"unit": "month", "periods": periods})
    page.tells("From 2024-01-03 to 2024-03-09, by month.", "5 reviews without a date")
    (chart,) = [c for c in page.charts if c.findtext("title") == "Mean rating by month"]
    assert len(chart.findall("circle")) == 3


def test_data_that_lack_nearly_everything_have_a_page(read):
    profile = copy.deepcopy(FOUND["profile"])
    profile["ratings"] = [entry | {"count": 0} for entry in profile["ratings"]]
    profile["age"] = {"unit": "years", "quantiles": {}, "histogram": []}
    profile["missing"] = {"title": 1_000, "age": 1_000}
    overall = FOUND["categories"]["overall"]
    page = read(
        profile=profile,
        cut=None,
        tokens=None,
        categories={"rows": [category(None, 0.1, 0.2, 0.7)], "overall": overall, "in_all": 0},
        telling_words={name: [] for name in NAMES},
    )
    page.tells("Never given: title, age", "Ratings: no review has one", "no review has a category")
    assert "nan" not in page.text.lower()
    assert "cut them off" not in page.text


def test_categories_that_are_all_small_are_said_to_be(read):
    page = read(categories=FOUND["categories"] | {"rows": [TOO_FEW], "in_all": 10_000})
    page.tells("none of 10,000 categories has 20 reviews")


def test_a_sample_and_a_search_that_was_ended_are_said(read):
    near = FOUND["duplicates"]["near"] | {"complete": False}
    page = read(sampled=100, duplicates=FOUND["duplicates"] | {"near": near})
    page.tells(
        "From a random sample of 100 reviews", "at least 8 pairs", "100 of the 1,000 reviews"
    )
