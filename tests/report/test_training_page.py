"""The training report: whole, safe, and readable when parts are missing."""

import pytest

from components.report.training_verdict import headline_of
from components.shared.machine.errors import UserError
from tests.report.conftest import CHECK, EVALUATION, REGISTRATION
from tests.report.reading import Page


def test_tells_the_story_in_order(run_folder):
    Page(run_folder.compose()).tells(
        *("run of 2026-11-21 05:20", "Version 7 is champion", "64 of 64 reviews", "2 min 12 s"),
        *("The gate opened", "Macro-F1 0.712 reaches", "threshold 0.600", "What went in"),
        *("1,900 kept", "1 ★", "review text is empty", "line 17", "no category", "title 250"),
        *("shown to training", "balancing none", "reviews_1", "How training went", "90/s"),
        *("Per class", "macro mean", "Confusion matrix", "152 97 %", "equally frequent"),
        *("Can its probabilities be believed?", "1.400", "0.060 0.010", "negative +0.300"),
        *("Dresses 120", "other (7 small ones)", "no champion yet", "26 of 200 reviews"),
        *("97 %", "Version 7 of review-sentiment", "abc123", "2e-06", "14.2 ms", "fine tune"),
        *("Parameters of the run", "data uri <script>", "data abc123"),
    )


def test_review_texts_are_escaped_and_links_lead_to_sections(run_folder):
    page = Page(run_folder.compose())
    assert "<script>alert('x')</script> end" in page.text
    assert '<b>bold</b> & "quoted"' in page.text
    assert not {"script", "img", "b"} & {name for name, _ in page.tags}
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for attributes in page.attributes("a")} <= ids
    assert len(page.charts) == 9


def test_losses_share_a_chart_only_where_they_are_one_quantity(run_folder):
    assert "Both are cross-entropy." in Page(run_folder.compose()).text
    weighted = {"class_weights": "sqrt", "label_smoothing": 0.05, "rating_loss_weight": 0.3}
    run_folder.contents["model/training.json"]["options"] = weighted
    page = Page(run_folder.compose())
    assert len(page.charts) == 10
    assert "with class weights, label smoothing and the loss of the star rating" in page.text
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
    Page(run_folder.compose(registered=False, checked=False)).tells(
        *("Passed the gate", "Ingest: its summary was not given"),
        *("Splits: the summary of prepare was not given", "Curves: training wrote no history"),
        *("Registration: not part of this report", "Time of each step: known to the runner only"),
    )


@pytest.mark.parametrize("name", ["ingest", "prepare", "features", "registration", "check", ""])
def test_an_empty_summary_and_an_older_evaluation_break_nothing(run_folder, name):
    run_folder.contents[name or "ingest"] = {}
    for extra in ("tokens", "slices", "balanced_view", "calibration", "roc", "thresholds"):
        if not name:
            del run_folder.contents["evaluation"][extra]
    Page(run_folder.compose())


def test_class_without_test_rows(run_folder):
    evaluation = run_folder.contents["evaluation"]
    evaluation["confusion_matrix"][1] = [0, 0, 0]
    evaluation["roc"][1] |= {"auc": None, "false_positive_rate": [], "true_positive_rate": []}
    assert "nan" not in Page(run_folder.compose()).text.lower()


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
        **{"verdict": "not worse", "margin": 0.01, "significant": False},
        "macro_f1_difference": {"value": -0.004, "low": -0.02, "high": 0.01},
        "accuracy_difference": {"value": 0.001, "low": -0.01, "high": 0.01},
        **{"only_new_right": 12, "only_champion_right": 14, "mcnemar_p_value": 0.845},
        **{"champion_accuracy": 0.87, "champion_macro_f1": 0.716, "may_have_seen_test": True},
    }
    Page(run_folder.compose()).tells(
        *("not worse", "may be chance", "\u22120.004", "\u22120.020 to +0.010; champion 0.716"),
        *("+0.001", "12 : 14", "p = 0.845", "may have seen"),
    )


def test_step_writes_the_same_page(run_folder):
    from kfp.dsl import HTML, Artifact, Model

    from components.report.component import compose_report as step

    run_folder.step_seconds, run_folder.run_facts = None, None
    expected = run_folder.compose(registered=False, checked=False)
    folder = run_folder.folder
    names = (
        "bias_summary",
        "ingest_summary",
        "prepare_summary",
        "features_summary",
        "evaluation_summary",
    )
    step.python_func(
        **{name: Artifact(uri=str(folder / name.removesuffix("_summary"))) for name in names},
        model=Model(uri=str(folder / "model")),
        report=HTML(uri=str(folder / "step.html")),
    )
    assert (folder / "step.html").read_text(encoding="utf-8") == expected
    assert set(step.component_spec.inputs) == {*names, "model"}


CLOSED = {"passed": False, "reasons": ["Macro-F1 0.712 is below 0.800."], "met": [False]}


@pytest.mark.parametrize(
    ("gate", "approval", "checked", "state", "title", "words"),
    [
        (CLOSED, None, False, "stopped", "Not registered", "below 0.800, so nothing was"),
        (None, None, False, "good", "Passed the gate", "good enough"),
        (None, "pending", False, "waiting", "waits for approval", "make approve VERSION=7"),
        (None, "approved", False, "waiting", "is registered", "check did not run"),
        (None, "approved", True, "good", "Version 7 is champion", "(openvino-int8) gave 64 of 64"),
    ],
)
def test_the_headline_of_each_ending(gate, approval, checked, state, title, words):
    evaluation = EVALUATION | ({"gate": gate} if gate else {})
    registration = REGISTRATION | {"approval": approval} if approval else None
    headline = headline_of(evaluation, registration, CHECK if checked else None)
    assert (headline.state, title in headline.title) == (state, True)
    assert all(told in headline.sentence for told in (words, "0.871", "0.780"))


def test_it_speaks_of_the_fields_that_the_data_have(run_folder):
    ingest = run_folder.contents["ingest"]
    ingest["files"] = [{"name": "a.csv", "ignored": ["", "<b>shop</b>"], "encoding": "cp1252"}]
    Page(run_folder.compose()).tells(
        "Ratings",
        "Product categories",
        "title 250.",
        "not read: (without a name)",
        "<b>shop</b>",
        "a.csv is not UTF-8 and was read as cp1252",
    )
    profile = ingest["profile"]
    profile |= {"categories_in_all": 0, "missing": {"title": 1900, "age": 1900, "department": 3}}
    profile["ratings"] = [{"rating": stars, "count": 0} for stars in (1, 2, 3, 4, 5)]
    page = Page(run_folder.compose())
    page.tells("Missing values among the kept rows: department 3.")
    for words in ("Ratings", "Product categories"):
        assert words not in page.text


def test_a_limit_on_bias_is_a_condition_of_the_gate(run_folder):
    limit = {"asked": True, "within": False, "reason": "DPPL is beyond 0.1 for sure in Trend."}
    run_folder.contents["bias"] = {"gate": limit}
    page = Page(run_folder.compose(registered=False, checked=False))
    page.tells("Not registered", "DPPL is beyond 0.1", "The gate stayed closed", "in Trend")
    run_folder.contents["bias"] = {"gate": limit | {"asked": False}}
    assert "DPPL" not in Page(run_folder.compose()).text


def test_it_links_the_other_pages_of_the_run(run_folder):
    run_folder.pages = [("measure-bias", "Who <b>differs</b>", "pages/measure-bias.html")]
    page = Page(run_folder.compose())
    assert "pages/measure-bias.html" in [link["href"] for link in page.attributes("a")]
    assert "More of this run: measure bias (Who <b>differs</b>)." in page.text
