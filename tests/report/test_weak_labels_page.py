"""The page of weak supervision."""

import pytest

from components.report.formats import MISSING
from components.report.weak_labels_page import write_weak_labels_page

CLASS = {"name": "negative", "votes": 9, "ratings": 8, "precision": 0.5, "recall": 0.6, "f1": 0.55}
FUNCTION = {
    **{"name": "sent_back", "about": "<b>It</b> went back.", "coverage": 0.1, "overlaps": 0.05},
    **{"conflicts": 0.01, "ratings": 40, "accuracy": 0.7, "by_guessing": 0.1, "used": True},
}
SILENT = FUNCTION | {"name": "silent", "accuracy": None, "by_guessing": None, "used": False}


def variant(name, value, verdict):
    difference = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"name": name, "rows": 500, "macro_f1": 0.6, "difference": difference} | {
        "verdict": verdict
    }


def summary(value, verdict):
    return {
        **{"unrated": 1000, "weak": 400, "verdict": f"Training {verdict}.", "reason": ""},
        **{"ratings": 200, "coverage": 0.9, "chosen": "label model", "validation_rows": 50},
        "functions": [FUNCTION, SILENT],
        "methods": [
            {"name": name, "accuracy": 0.8, "macro_f1": 0.55, "per_class": [CLASS]}
            for name in ("majority vote", "label model")
        ],
        "classes": [{"name": "negative", "ratings": 20, "weak": 40, "probability": 0.47}],
        "experiment": [
            variant("ratings alone", 0.0, "has no proven effect"),
            variant("with weak labels", value, verdict),
        ],
    }


@pytest.mark.parametrize(
    ("value", "verdict", "title"),
    [
        (0.05, "helps", "Weak labels help"),
        (-0.05, "harms", "Weak labels harm"),
        (0.001, "has no proven effect", "No proven effect from weak labels"),
    ],
)
def test_the_page_tells_what_the_labels_bring(page_of, value, verdict, title):
    read = page_of(write_weak_labels_page, summary(value, verdict))
    read.tells(title, f"Training {verdict}.", "1,000", "400", "200", "same 50 validation rows")
    read.tells("ratings alone", "500", "with weak labels", verdict, "negative", "20", "40", "0.470")
    read.tells("majority vote", "0.550", "label model, chosen", "0.500", "0.600", "0.550")
    read.tells("sent back", "<b>It</b> went back.", "10.0", "70.0", "silent (not used)", MISSING)
    (chart,) = read.charts
    assert "with weak labels: " in chart.findtext("desc")
    assert "could not be fitted" not in read.text


def test_one_method_alone_is_explained(page_of):
    made = summary(0.0, "has no proven effect")
    made["methods"] = made["methods"][:1]
    assert "The label model could not be fitted" in page_of(write_weak_labels_page, made).text


def test_no_labels_have_a_page_that_says_why(page_of):
    nothing = {"unrated": 7, "weak": 0, "reason": "off", "verdict": "No review was labelled: off."}
    read = page_of(write_weak_labels_page, nothing | {"ratings": 0, "experiment": []})
    read.tells("There are no weak labels", "No review was labelled: off.", "7", "not looked at")
    assert "NaN" not in read.text
