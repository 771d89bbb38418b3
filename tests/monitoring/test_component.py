"""The steps as a pipeline runs them."""

import pytest
from kfp.dsl import HTML, Artifact, Dataset, Metrics, Model

from components.monitoring.component import draw_drift_page, monitor_answers
from components.shared.machine.errors import UserError
from components.shared.records.monitoring_summary import read_monitoring_summary
from tests.monitoring.made_up_log import SINCE, UNTIL
from tests.report.reading import Page

WINDOW = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}


def served(model):
    return {"model": Model(uri=str(model.folder)), "version": "3", "model_name": "reviews"}


def looked(model, tmp_path, log_uri, **more):
    made = {
        "monitoring_summary": Artifact(uri=str(tmp_path / "summary")),
        "monitoring_page": HTML(uri=str(tmp_path / "page")),
        "metrics": Metrics(uri=str(tmp_path / "metrics")),
    }
    predictions = Dataset(uri=str(tmp_path / "predictions"))
    given = served(model) | made | WINDOW | {"predictions": predictions, "log_uri": log_uri} | more
    return monitor_answers.python_func(**given), made["metrics"].metadata


def test_the_step_says_whether_and_what_drifted(model, log, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("LOCAL_STATE", raising=False)
    outputs, metrics = looked(model, tmp_path, log(dresses=0.4))
    assert (outputs.drifted, outputs.concept_drift) == ("yes", "unknown")
    assert outputs.findings.startswith("reviews of Dresses come about twice as often")
    assert metrics["columns_drifted"] == 1
    assert metrics["effect_product_category"] > 0.15
    assert read_monitoring_summary(tmp_path / "summary").in_words == outputs.findings
    assert "The reviews have changed" in Page((tmp_path / "page").read_text()).text
    assert (tmp_path / "state" / "monitoring" / "metrics.prom").is_file()


@pytest.mark.parametrize(("rows", "drifted"), [(2000, "no"), (100, "unknown")])
def test_no_drift_and_too_little_are_told_apart(model, log, tmp_path, monkeypatch, rows, drifted):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("LOCAL_STATE", raising=False)
    outputs, _ = looked(model, tmp_path, log(rows=rows))
    assert outputs == (drifted, "", "unknown")


@pytest.mark.slow
def test_evidently_draws_the_same_columns(model, log, tmp_path, capfd):
    page = HTML(uri=str(tmp_path / "page"))
    draw_drift_page.python_func(**served(model), **WINDOW, log_uri=log(), drift_page=page)
    html = (tmp_path / "page").read_text()
    for name in ("product_category", "confidence", "unknown_share"):
        assert name in html
    assert capfd.readouterr().out == ""


def test_there_is_no_page_of_too_few_rows(model, log, tmp_path):
    page = HTML(uri=str(tmp_path / "page"))
    with pytest.raises(UserError, match="too few to draw"):
        draw_drift_page.python_func(
            **served(model), **WINDOW, log_uri=log(rows=50), drift_page=page
        )
