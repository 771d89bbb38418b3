"""The pages of single steps: the curves of a training, the trials of a search."""

import pytest

from components.report.curves_page import curves_of, write_training_curves
from components.report.trials_page import write_trials_page
from tests.report.reading import places


def test_each_number_of_the_history_is_a_curve_over_the_steps():
    history = [
        {"step": 5, "epoch": 0.5, "train_loss": 1.0, "macro_f1": float("nan")},
        {"step": 10, "epoch": 1.0, "train_loss": 0.5, "macro_f1": 0.6, "note": "best"},
    ]
    loss = [(5.0, 1.0), (10.0, 0.5)]
    assert curves_of(history) == {"train_loss": loss, "macro_f1": [(10.0, 0.6)]}
    assert curves_of([{"loss": 1}]) == {"loss": [(0.0, 1.0)]}
    assert curves_of(None) == curves_of([]) == {}


@pytest.fixture
def curves(page_of):
    return lambda history, **facts: page_of(
        write_training_curves, {"history": history, **facts}, "training.json"
    )


def test_a_falling_loss_falls(curves):
    points = [{"step": step, "loss <b>": 1 / step} for step in (1, 5, 9)]
    read = curves(points, best={"step": 9})
    assert "The weights kept are those of step 9." in read.text
    (chart,) = read.charts
    assert chart.findtext("title") == "loss <b>"
    line = places(chart, "accent")[0]
    assert len(line) == 3
    assert line == sorted(line), "rightwards, and downwards on a page"
    assert [y for _, y in line] == sorted(y for _, y in line)


def test_one_point_and_an_empty_history_have_a_page_too(curves):
    assert len(curves([{"step": 3, "loss": 0.0}]).charts) == 1
    assert "The history is empty." in curves([]).text


def trial(number, status="finished", **more):
    metrics = {} if status == "failed" else {"accuracy": 0.5, "macro_f1": number / 10}
    told = {"trial": number, "status": status, "metrics": metrics, "seconds": 3.0}
    return told | {"parameters": {"dropout": number / 10}} | more


TRIALS = [trial(1), trial(2, "failed", reason="<script>"), trial(3, "stopped early"), trial(4)]


def test_the_best_trial_comes_first_and_is_marked(page_of):
    read = page_of(write_trials_page, {"objective": "macro_f1", "best": 4, "trials": TRIALS})
    assert "Trial 4 is the best" in read.text
    assert "2 of 4 trials finished. Trial 4 won with macro-F1 0.4000 on validation." in read.text
    assert [row.get("class") for row in read.attributes("tr")] == [None] * 4 + ["best"]
    read.tells("trial", "status", "dropout", "macro-F1", "accuracy", "seconds", "reason")
    read.tells("reason", "1", "finished", "0.1", "2", "failed", "<script>", "stopped early")


def test_a_list_of_trials_and_a_search_without_a_best_have_a_page(page_of):
    read = page_of(write_trials_page, TRIALS)
    assert "2 of 4 trials finished." in read.text
    assert "is the best" not in read.text
    assert "0 of 0" in page_of(write_trials_page, []).text
    failed = {"objective": "macro_f1", "best": None, "trials": TRIALS[1:2]}
    assert "0 of 1" in page_of(write_trials_page, failed).text
