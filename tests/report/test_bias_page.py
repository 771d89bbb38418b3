"""The page on bias says what differs for sure, and never shows a number where there is none."""

import re

import pytest

from components.report.bias_page import write_bias_page

EVIL = "<img src=x onerror=alert(1)>"
NAMES = ["Dresses", EVIL, "Trend"]
ROWS = {"data": 100, "balanced": 90, "predictions": 12}


def entry(group, stage, metric, of_class="", **more):
    known = {"facet": "product_category", "group": group, "stage": stage, "metric": metric}
    known |= {"class": of_class, "value": 0.1, "low": -0.05, "high": 0.25, "chance": None}
    return known | {"standing": "open"} | more


NOTHING = {"value": None, "low": None, "high": None}
UNDEFINED = {**NOTHING, "standing": "undefined", "why": "class bad does not occur in the group"}
FEW = {**NOTHING, "value": 0.7777, "standing": "too few to say"}


def summary(classes=("bad", "good")):
    measures = []
    for stage, share in (("data", "DPL"), ("balanced", "DPL"), ("predictions", "DPPL")):
        differs = {"value": 0.21, "low": 0.11, "high": 0.31, "standing": "differs"}
        for name in classes:
            measures += [
                entry(NAMES[0], stage, share, name, **differs),
                entry(NAMES[1], stage, share, name, **FEW),
                entry(NAMES[2], stage, share, name, **UNDEFINED),
            ]
        measures += [entry(group, stage, "TVD", chance=0.0625) for group in NAMES]
    measures += [entry(group, "predictions", "AD") for group in NAMES]
    groups = [{"name": name, "rows": ROWS} for name in NAMES]
    return {
        "classes": list(classes),
        "intervals": {"resamples": 2000},
        "fewest": {"rows": 30, "cases": 10},
        "facets": [
            {"name": "product_category", "conditioned_on": "age", "note": "", "groups": groups},
            {
                "name": "division",
                "conditioned_on": "",
                "note": f"every one is {EVIL}",
                "groups": [],
            },
        ],
        "definitions": {"DPL": {"title": "difference of labels", "meaning": "What it means."}},
        "headline": "1 of 3 groups differ for sure.",
        "findings": [f"Product category, share of good: less in {EVIL}."],
        "gate": {"limit": "", "within": True, "broken_by": [], "reason": "No limit."},
        "measures": measures,
    }


@pytest.fixture
def page(page_of):
    return lambda content: page_of(write_bias_page, content)


def test_three_columns_stand_side_by_side_and_what_differs_is_said_first(page):
    read = page(summary())
    read.tells(
        *("1 of 3 groups differ for sure.", "What differs for sure", "share of good: less in"),
        *("Share of bad reviews", "In the data", "As training sees it", "In the predictions"),
        *("Nothing to compare", "every one is", "Difference of labels", "What it means."),
    )
    titles = [chart.findtext("title") for chart in read.charts]
    assert titles[:2] == ["share of bad, In the data", "share of bad, As training sees it"]
    assert "Recall of good" not in titles, "it was not measured"


def test_a_name_is_no_markup_anywhere(page):
    assert page(summary()).text.count(EVIL) > 5


def test_what_cannot_be_said_has_words_instead_of_a_number(page):
    read = page(summary())
    read.tells("All metrics by", "too few to say", "undefined", "class bad does not occur")
    assert "0.77" not in read.text
    assert not re.search(r"\b(nan|None|inf)\b", read.text)
    read.tells("by chance 0.062")


def test_a_limit_that_is_broken_stops_the_page(page):
    broken = {"limit": "DPPL:good:product_category<=0.1", "within": False, "reason": "It broke."}
    read = page(summary() | {"gate": broken})
    read.tells("Beyond the limit on bias", "It broke.", "DPPL:good:product_category<=0.1")
    assert {"class": "hero stopped"} in read.attributes("header")
    kept = page(summary() | {"gate": broken | {"within": True}})
    assert {"class": "hero good"} in kept.attributes("header")
    assert {"class": "hero "} in page(summary()).attributes("header")


def test_of_many_classes_those_are_drawn_that_differ(page):
    content = summary(classes=[f"c{number}" for number in range(9)])
    for one in content["measures"]:
        if one["class"] not in ("c2", "c5", "c7") and one["standing"] == "differs":
            one["standing"] = "open"
    read = page(content)
    read.tells("Share of c2", "Share of c5", "Share of c7", "In the data: c0", "In the data: c8")
    assert "Share of c0" not in read.text
