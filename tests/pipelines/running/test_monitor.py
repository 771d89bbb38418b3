"""The command that looks at the champion's log."""

import shutil

import pytest

from components.registry import versions
from components.shared.machine.errors import DRIFTED, UserError
from components.shared.records.monitoring_summary import read_monitoring_summary
from pipelines.running import monitor
from tests.monitoring.conftest import log, model  # noqa: F401 - fixtures
from tests.monitoring.made_up_summary import summary

WINDOW = ["--since", "2026-11-02", "--until", "2026-11-16", "--model-name", "reviews"]


@pytest.fixture
def look(tmp_path, monkeypatch, capsys, model):  # noqa: F811
    """Runs the command with version 3 as champion; gives what it prints and its exit code."""
    monkeypatch.setattr("os.environ", {})

    def fetched(name, version, folder, predictions):
        assert (name, version) == ("reviews", "champion")
        shutil.copytree(model.folder, folder)
        return "3"

    monkeypatch.setattr(versions, "fetch_version", fetched)

    def ran(*words):
        code = 0
        try:
            monitor.main([*WINDOW, "--state", str(tmp_path / "state"), *words])
        except SystemExit as ended:
            code = ended.code
        return capsys.readouterr(), code

    return ran


def test_drift_is_told_in_words_and_by_the_exit_code(look, log, tmp_path):  # noqa: F811
    said, code = look("--log", log(dresses=0.4))
    assert code == DRIFTED
    lines = said.out.splitlines()
    window = "2026-11-02 00:00 to 2026-11-16 00:00 UTC"
    assert lines[0] == f"drifted: reviews version 3, 2,000 answers, {window}"
    assert (
        "product category: reviews of Dresses come about twice as often as in training: 4"
        in lines[1]
    )
    assert lines[3] == "  alarm below p = 0.0027 (1 false alarm in 365 looks a year); look 1"
    folder = tmp_path / "state" / "monitoring"
    assert lines[4] == f"  page: {folder / 'monitoring.html'}"
    assert "The reviews have changed" in (folder / "monitoring.html").read_text()
    assert read_monitoring_summary(folder / "monitoring_summary.json").drifted == "yes"


def test_no_drift_ends_well_and_the_log_of_the_state_is_the_default(look, log, tmp_path):  # noqa: F811
    shutil.copytree(log(), tmp_path / "state" / "payloads")
    said, code = look("--resolved", "")
    assert code == 0
    assert said.out.startswith("no drift: reviews version 3")


def test_an_error_is_one_sentence(look, log):  # noqa: F811
    said, code = look()
    assert code == 2
    assert "there is no payload log at" in said.err
    said, code = look("--log", log(rows=10), "--looks-per-year", "0")
    assert (code, said.out) == (2, "")
    assert "looks_per_year is 0" in said.err


def test_without_a_champion_the_remedy_is_named(look, monkeypatch):
    def none(*_):
        raise UserError("reviews has no version 'champion'; it has no versions yet")

    monkeypatch.setattr(versions, "fetch_version", none)
    said, code = look()
    assert code == 2
    assert "`make run MODEL_NAME=reviews" in said.err


def test_other_versions_and_a_right_model_are_told():
    calm = summary(verdict="no drift", sentence="Calm.", findings=[], concept_sentence="Right.")
    said = monitor.in_words(calm)
    assert "Calm.\n  Right.\n" in said
    assert "answers of other versions, not compared: 900 of 2, 4 of other 1" in said
