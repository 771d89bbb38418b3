"""The report: whole, safe, self-contained, and readable when parts are missing."""

import re
from html.parser import HTMLParser

import pytest

from components.report.training_page import compose_report
from components.shared.machine.errors import UserError

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_tells_the_story_in_order(run_folder):
    page = Page(run_folder.compose())
    for words in (
        "Deployed as version 7",
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


def test_control_characters_are_left_out(run_folder):
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", run_folder.compose())


def test_needs_nothing_beside_it(run_folder):
    html = run_folder.compose()
    page = Page(html)
    assert not re.search(r"url\(|@import", html)
    for tag, attributes in page.tags:
        assert tag not in ("link", "script", "iframe", "object", "embed")
        assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].startswith("#")


def test_links_lead_to_sections_and_charts_have_words(run_folder):
    page = Page(run_folder.compose())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for attributes in page.attributes("a")} <= set(ids)
    charts = page.attributes("svg")
    assert len(charts) >= 9
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert all(header.get("scope") for header in page.attributes("th"))
    assert page.attributes("html") == [{"lang": "en"}]


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


def test_signature_takes_paths_of_any_kind(run_folder):
    run_folder.compose()
    folder = str(run_folder.folder)
    compose_report(
        *(f"{folder}/{name}" for name in ("ingest", "prepare", "features", "model", "evaluation")),
        f"{folder}/again.html",
    )
