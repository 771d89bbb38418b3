"""The training report: whole, safe, and readable when parts are missing."""

import re

import pytest

from components.shared.machine.errors import UserError
from tests.report.reading import Page


def test_tells_the_story_in_order(run_folder):
    page = Page(run_folder.compose())
    for words in (
        "Version 7 is champion",
        "Accuracy 0.871 and macro-F1 0.712 on 200 unseen reviews",
        "0.780",
        "The gate opened",
        "1,900 kept",
        "review text is empty",
        "line 17",
        "How training went",
        "Confusion matrix",
        "Can its probabilities be believed?",
        "64 of 64 reviews",
        "2 min 12 s",
    ):
        assert words.replace(" ", "") in re.sub(r"[\s\u2009]", "", page.text), words


def test_review_texts_are_escaped(run_folder):
    html = run_folder.compose()
    assert "<script" not in html
    assert "<img" not in html
    page = Page(html)
    assert "<script>alert('x')</script> end" in page.text
    assert '<b>bold</b> & "quoted"' in page.text
    assert not {"script", "img", "b"} & {name for name, _ in page.tags}


def test_links_lead_to_sections(run_folder):
    page = Page(run_folder.compose())
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for attributes in page.attributes("a")} <= ids
    assert len(page.charts) == 9


def test_losses_share_a_chart_only_where_they_are_one_quantity(run_folder):
    page = Page(run_folder.compose())
    assert "Both are cross-entropy." in page.text
    weighted = {"class_weights": "sqrt", "label_smoothing": 0.05, "rating_loss_weight": 0.3}
    run_folder.contents["model/training.json"]["options"] = weighted
    page = Page(run_folder.compose())
    assert len(page.charts) == 10
    assert (
        "cross-entropy with class weights, label smoothing and the loss of the star rating"
        in page.text
    )
    assert "Both are" not in page.text


def test_few_rows_are_put_together_on_the_calibration_curve():
    from components.report.training_figures import ROWS_PER_POINT, _put_together

    points = [{"confidence": 0.5 + n / 30, "accuracy": n % 2, "rows": 10} for n in range(14)]
    together = _put_together([*points, {"confidence": 1.0, "accuracy": 1.0, "rows": 5}])
    assert len(together) == 145 // ROWS_PER_POINT
    assert together[0] == pytest.approx((0.5 + 1 / 30, 1 / 3))
    assert together[-1][1] == pytest.approx(15 / 25, abs=0.2)
    assert _put_together([]) == _put_together([{"confidence": 0, "accuracy": 0, "rows": 0}]) == []


def test_without_optional_parts(run_folder):
    for name in ("ingest", "prepare", "features"):
        del run_folder.contents[name]
    run_folder.contents["model/training.json"] = {}
    run_folder.step_seconds, run_folder.run_facts = None, None
    page = Page(run_folder.compose(registered=False, checked=False))
    for words in (
        "Passed the gate",
        "Ingest: its summary was not given",
        "Splits: the summary of prepare was not given",
        "Curves: training wrote no history",
        "Registration: not part of this report",
        "Time of each step: known to the runner only",
    ):
        assert words in page.text


@pytest.mark.parametrize("name", ["ingest", "prepare", "features", "registration", "check"])
def test_an_empty_summary_breaks_nothing(run_folder, name):
    run_folder.contents[name] = {}
    Page(run_folder.compose())


def test_older_evaluation_without_extras_breaks_nothing(run_folder):
    for name in ("tokens", "slices", "balanced_view", "calibration", "roc", "thresholds"):
        del run_folder.contents["evaluation"][name]
    Page(run_folder.compose())


def test_class_without_test_rows(run_folder):
    evaluation = run_folder.contents["evaluation"]
    evaluation["confusion_matrix"][1] = [0, 0, 0]
    evaluation["roc"][1] = {
        "name": "neutral",
        "auc": None,
        "false_positive_rate": [],
        "true_positive_rate": [],
        "threshold": [],
    }
    html = run_folder.compose()
    Page(html)
    assert "nan" not in html.lower().replace("financ", "")


def test_missing_evaluation_is_named_and_the_old_report_stays(run_folder):
    run_folder.compose()
    before = (run_folder.folder / "report.html").read_text()
    (run_folder.folder / "evaluation").unlink()
    del run_folder.contents["evaluation"]
    with pytest.raises(UserError, match="evaluation does not exist"):
        run_folder.compose()
    assert (run_folder.folder / "report.html").read_text() == before


def test_champion_is_compared(run_folder):
    run_folder.contents["evaluation"]["champion"] = {
        "verdict": "not worse",
        "margin": 0.01,
        "macro_f1_difference": {"value": -0.004, "low": -0.02, "high": 0.01},
        "accuracy_difference": {"value": 0.001, "low": -0.01, "high": 0.01},
        "only_new_right": 12,
        "only_champion_right": 14,
        "mcnemar_p_value": 0.845,
        "significant": False,
        "champion_accuracy": 0.87,
        "champion_macro_f1": 0.716,
        "may_have_seen_test": True,
    }
    text = Page(run_folder.compose()).text
    for words in ("not worse", "\u22120.004", "12 : 14", "p = 0.845", "may have seen"):
        assert words in text


def test_step_writes_the_same_page(run_folder):
    from kfp.dsl import HTML, Artifact, Model

    from components.report.component import compose_report as step

    run_folder.step_seconds, run_folder.run_facts = None, None
    expected = run_folder.compose(registered=False, checked=False)
    folder = run_folder.folder
    step.python_func(
        ingest_summary=Artifact(uri=str(folder / "ingest")),
        prepare_summary=Artifact(uri=str(folder / "prepare")),
        features_summary=Artifact(uri=str(folder / "features")),
        model=Model(uri=str(folder / "model")),
        evaluation_summary=Artifact(uri=str(folder / "evaluation")),
        report=HTML(uri=str(folder / "step.html")),
    )
    assert (folder / "step.html").read_text(encoding="utf-8") == expected
    assert set(step.component_spec.inputs) == {
        *("ingest_summary", "prepare_summary", "features_summary", "model", "evaluation_summary"),
    }
