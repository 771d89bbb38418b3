import copy
import json

import pytest

from components.report.review_page import SHOWN, write_review_page
from tests.report.reading import Page

ESTIMATE = {"value": 0.61, "low": 0.37, "high": 0.8}
AGREED = {"items": 75, "votes": 168, "interval": ESTIMATE, "nominal": ESTIMATE}
STATES = {"resolved": 150, "waiting": 13, "in doubt": 2, "cannot tell": 3, "undecided": 1}
CAREFUL = {"person": "0625dcdcbb2ec8f0", "votes": 148, "most": "positive", "most_share": 0.5}
CAREFUL |= {"informedness": 0.77, "lazy": False, "confusion": [[1]]}
LAZY = CAREFUL | {"person": "cd1a18524cb9250d", "informedness": 0.0, "lazy": True}
LAZY |= {"in_words": "reviewer cd1a18524cb9250d gives 'positive' in 100% of 147 votes"}
ROW = {"volume": 0.19, "found": 0.68, "remaining": 0.044, "remaining_seen": 0.042}
ROW |= {"error_below": 0.5, "looks": 1.9}
SELECTION = {
    "thresholds": [
        ROW | {"threshold": 0.5, "volume": 0.1, "looks": None},
        ROW | {"threshold": 0.6},
    ],
    "chosen": ROW | {"threshold": 0.6},
    **{"rule": "the lowest threshold", "since": "", "until": "2026-11-22T00:00:00+00:00"},
    "log": {"rows": 1929, "without_text": 4, "asked_before": 7, "texts": 1918},
    **{"drawn": {"uncertain": 134, "audit": 77}, "options": {"items": 300}},
}
DOUBT = {"item_id": "r7", "queue": "label_noise", "title": None, "review_body": "Nice"}
DOUBT |= {"state": "in doubt", "votes": {"negative": 1, "neutral": 0, "positive": 2}}
VOTES = {
    **{"items": 169, "states": STATES, "new": 12, "price": 49.42, "method": "Dawid-Skene"},
    "queues": {"audit": STATES | {"other": 10}},
    "votes": {
        **{"counted": 585, "cannot_tell": 8, "skipped": 1, "repeated": 5, "contradictory": 4},
        **{"changed": 2, "vanished": 3, "unknown_label": 2, "unknown_labels": ["<b>no</b>"]},
        "unknown_item": 6,
    },
    "agreement": {"all": AGREED, "audit": AGREED, "with_everybody": AGREED},
    "reviewers": [CAREFUL],
    "doubtful": [DOUBT],
    "options": {"wage": 20.0, "extra": 2},
}
GATHERED = {"sent": 4, "there_already": 200, "lacking": 40}


@pytest.fixture
def page(tmp_path):
    def read(votes=VOTES, selection=SELECTION):
        contents = {"votes": votes, "selection": selection, "gathered": GATHERED}
        for name, content in contents.items():
            (tmp_path / name).write_text(json.dumps(content))
        write_review_page(*(tmp_path / name for name in contents), tmp_path / "page")
        return Page((tmp_path / "page").read_text(encoding="utf-8"))

    return read


def test_the_page_tells_what_people_did_and_what_waits(page):
    read = page()
    read.tells("Some reviews wait for people", "150 of 169 reviews are resolved by 585 votes")
    read.tells("12 new", "0.61", "alpha of the audit", "49.42", "at 20 an hour")
    read.tells("4 items were sent, 200 were there already, 40 votes are missing")
    read.tells("counted", "585", "replaced", "5", "4 said something else", "deleted", "3")
    read.tells("1,929 answers, 4 of them without a text", "1,918", "7 rows repeat", "134 uncertain")
    read.tells(
        "r7", "in doubt", "1 \N{MULTIPLICATION SIGN} negative", "2 \N{MULTIPLICATION SIGN} positive"
    )
    assert "0 \N{MULTIPLICATION SIGN} neutral" not in read.text
    alphas, errors = read.charts
    told = alphas.findtext("desc")
    assert "audit, interval: 0.61, 0.37 to 0.8" in told
    assert "everybody" not in told
    assert "share of answers reviewed" in errors.findtext("desc")


def test_the_table_says_for_each_threshold_how_many_reviews_and_what_error(page):
    read = page()
    read.tells("Below a confidence of 0.60", "the lowest threshold", "19.0", "4.4")
    read.tells("0.50", "10.0", "68", "4.4", "4.2", "\N{EN DASH}", "0.60", "19.0", "1.9")
    assert [row.get("class") for row in read.attributes("tr")].count("best") == 1


def test_a_lazy_reviewer_is_the_headline(page):
    read = page(VOTES | {"reviewers": [CAREFUL, LAZY]})
    read.tells("A reviewer clicks without reading", "gives 'positive' in 100% of 147 votes")
    assert "everybody, interval" in read.charts[0].findtext("desc")


def test_texts_and_answers_of_people_are_escaped_and_long_lists_cut(page):
    evil = DOUBT | {"title": "<img src=x onerror=alert(1)>", "review_body": "<script>" + "a " * 900}
    read = page(VOTES | {"doubtful": [evil] * (SHOWN + 3)})
    read.tells("<b>no</b>", "3 more are in the step's summary", "<script>", "…")


def test_a_review_of_nothing_is_said_without_numbers_that_are_none(page):
    votes = copy.deepcopy(VOTES)
    votes |= {"items": 0, "states": dict.fromkeys(STATES, 0), "queues": {}, "doubtful": []}
    few = {"items": 0, "votes": 0, "interval": None, "nominal": None}
    votes |= {"reviewers": [], "agreement": dict.fromkeys(VOTES["agreement"], few)}
    read = page(votes, SELECTION | {"drawn": {}})
    read.tells("Nobody was asked yet", "Drawn: nobody")
    assert "NaN" not in read.text
    assert "None" not in read.text


def test_everything_decided_is_good_news(page):
    read = page(VOTES | {"states": STATES | {"waiting": 0, "in doubt": 0}})
    read.tells("All reviews that were asked about are decided")
