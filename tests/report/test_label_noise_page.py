"""The page of the search for label noise."""

import json

import pyarrow as pa
import pytest

from components.report.label_noise_page import SHOWN, write_label_noise_page
from components.shared.machine.files import write_parquet
from components.shared.records.suspects import suspects_schema
from tests.report.reading import Page

CHANGES = {"keep all": 0.0, "drop": -0.02, "relabel": 0.004, "drop at random": 0.001}


def change(name, value):
    verdict = "harms" if value + 0.01 < 0 else "has no proven effect"
    difference = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"name": name, "rows": 1500, "macro_f1": 0.6, "difference": difference} | {
        "verdict": verdict
    }


SUMMARY = {
    **{"rows": 1700, "suspects": 60, "suspects_of_training": 51, "validation_rows": 190},
    "pairs": [{"given": "neutral", "suggested": "positive", "suspects": 60}],
    "experiment": [change(*one) for one in CHANGES.items()],
    **{"verdict": "Dropping the suspects harms.", "reason": ""},
}


def suspect(rank, **more):
    texts = {"review_id": f"r{rank}", "split": "train", "title": None, "review_body": "nice"}
    labels = {"given": "neutral", "suggested": "positive", "self_confidence": 0.02}
    chances = {"p_negative": 0.01, "p_neutral": 0.02, "p_positive": 0.97}
    return {"rank": rank} | texts | labels | chances | more


@pytest.fixture
def page(tmp_path):
    def read(summary, rows):
        (tmp_path / "summary").write_text(json.dumps(summary))
        table = pa.Table.from_pylist(rows, schema=suspects_schema())
        write_parquet(tmp_path / "suspects", table)
        write_label_noise_page(tmp_path / "summary", tmp_path / "suspects", tmp_path / "page")
        return Page((tmp_path / "page").read_text(encoding="utf-8"))

    return read


def test_the_page_tells_the_verdict_the_experiment_and_the_suspects(page):
    read = page(SUMMARY, [suspect(rank) for rank in range(1, 61)])
    read.tells("Cleaning the labels harms", "Dropping the suspects harms.", "60", "of 1,700")
    read.tells(
        "same 190 validation rows", "drop", "0.020", "harms", "relabel", "has no proven effect"
    )
    read.tells("neutral", "positive", "60", "100.0", f"{60 - SHOWN} more", "1 · train · r1")
    read.tells("given: neutral (2.0", "suggested: positive (97.0")
    assert read.text.count("suggested: positive") == SHOWN
    (chart,) = read.charts
    told = chart.findtext("desc")
    assert "drop: -0.02, -0.03 to -0.01" in told
    assert "keep all" not in told


def test_no_effect_is_the_headline_where_no_interval_leaves_zero_out(page):
    calm = SUMMARY | {"experiment": [change(name, 0.001) for name in CHANGES]}
    assert "No proven effect from cleaning the labels" in page(calm, [suspect(1)]).text


def test_texts_of_reviews_are_escaped_and_cut(page):
    body = "<script>alert(1)</script>\x00" + "long " * 20_000
    read = page(SUMMARY, [suspect(1, review_body=body, title="<img src=x onerror=alert(1)>")])
    read.tells("<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "…")


def test_what_was_not_looked_for_is_said(page):
    nothing = dict.fromkeys(("rows", "suspects", "suspects_of_training", "validation_rows"), 0)
    reason = {"pairs": [], "experiment": [], "reason": "few", "verdict": "Nothing: few."}
    read = page(nothing | reason, [])
    read.tells("Label noise was not looked for", "Nothing: few.")
    assert "NaN" not in read.text
    assert read.charts == []
