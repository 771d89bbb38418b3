import pytest

from components.report.correction_page import write_correction_page

ENDS = {"value": 0.03, "low": 0.01, "high": 0.05}


def change(name, value, verdict="helps"):
    ends = {"value": value, "low": value - 0.02, "high": value + 0.02}
    return {"name": name, "rows": 900, "macro_f1": 0.6, "difference": ends, "verdict": verdict}


PAIR = {"macro_f1_difference": ENDS, "accuracy_difference": ENDS}
SUMMARY = {
    **{"reviewed": 180, "changed": 120, "live": 60, "training_rows": 15_000, "test_rows": 1_929},
    **{"votes": 540, "price": 45.0, "price_per_point": 15.2, "reason": ""},
    "experiment": [
        change("labels as given", 0.0),
        change("corrected by people", 0.03),
        change("as many at random", 0.004, "has no proven effect"),
        change("suspects dropped", 0.02),
    ],
    "network": PAIR | {"mcnemar_p_value": 0.012, "verdict": "better"},
    "slice": PAIR | {"rows": 120, "p_value": 0.001, "accuracy_before": 0.3, "accuracy_after": 0.6},
    "verdict": "Training on what people say helps.",
}


@pytest.fixture
def page(page_of):
    return lambda **changed: page_of(write_correction_page, SUMMARY | changed)


def test_the_page_tells_gain_baselines_and_price(page):
    read = page()
    read.tells("What people corrected helps", "Training on what people say helps.")
    read.tells("180", "120 of them changed", "60", "beside 15,000", "45.00", "540 votes", "15.20")
    read.tells("same 1,929 test rows", "as many at random", "suspects dropped", "has no proven")
    read.tells("the trained model against the one before", "+0.030", "0.012")
    read.tells("120 labels that people changed", "0.001")
    effects, pairs = read.charts
    assert "suspects dropped: 0.02" in effects.findtext("desc")
    assert "trained model: 0.03" in pairs.findtext("desc")


@pytest.mark.parametrize(
    ("verdict", "title"),
    [("harms", "people corrected harms"), ("has no proven effect", "No proven effect from what")],
)
def test_the_headline_is_of_the_last_thing_that_people_did(page, verdict, title):
    more = [*SUMMARY["experiment"], change("with live reviews too", 0.0, verdict)]
    assert title in page(experiment=more).text


def test_nothing_corrected_has_a_page_too(page):
    empty = dict.fromkeys(("network", "slice", "price_per_point"))
    read = page(experiment=[], reason="no label", verdict="There is nothing to compare.", **empty)
    read.tells("Nothing was corrected yet", "There is nothing to compare.")
    assert read.charts == []
    assert "None" not in read.text
