import sys

import pytest
from kfp.dsl import Artifact

from components.registry import __main__ as command
from components.registry import component
from components.registry.versions import promote
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.file_list import folder_digest


@pytest.fixture
def one_version(mlflow_file, register_version):
    register_version()


def printed(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["registry", *arguments])
    command.main()
    return capsys.readouterr().out


def test_the_list_is_a_table(one_version, monkeypatch, capsys):
    head, row = printed(monkeypatch, capsys, "list").splitlines()
    assert head.split()[:5] == ["version", "alias", "approval", "accuracy", "macro-F1"]
    assert row.split()[:5] == ["1", "challenger", "approved", "0.8700", "0.7100"]
    assert head.index("approval") == row.index("approved")


def test_a_version_is_shown_with_its_lineage(one_version, monkeypatch, capsys):
    sheet = printed(monkeypatch, capsys, "show", "challenger")
    for fact in ("data-1", "service-1", "abc123", "run-1", "minilm", "model_digest"):
        assert fact in sheet


def test_the_champion_is_shown_or_reported_missing(one_version, monkeypatch, capsys):
    with pytest.raises(UserError, match="has no champion yet"):
        printed(monkeypatch, capsys, "champion")
    promote("review-sentiment", "1")
    assert "champion" in printed(monkeypatch, capsys, "champion")
    with pytest.raises(UserError, match="no version '9'"):
        printed(monkeypatch, capsys, "show", "9")


def test_an_empty_registry_is_not_an_error(mlflow_file, monkeypatch, capsys):
    assert "no versions yet" in printed(monkeypatch, capsys, "list")


def test_without_a_tracking_uri_the_error_names_it(monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not set"):
        printed(monkeypatch, capsys, "list")


def test_the_steps_pass_on_versions_and_artifacts(
    mlflow_file, model_folder, evaluation_summary, predictions, tmp_path
):
    def artifact(path):
        return Artifact(uri=str(path))

    found = {
        "bias": {"headline": "2 of 9 groups differ."},
        "explanation": {"deletion": {"value": 0.3, "random": 0.0}},
        "label_noise": {"rows": 100, "suspects": 4},
        "ingest": {"source": "sample", "rows_in": 7, "rows_kept": 7},
    }
    for name, content in found.items():
        write_json(tmp_path / name, content)
    summaries = [tmp_path / name for name in found]
    registration = artifact(tmp_path / "registration")
    version = component.register_model.python_func(
        *map(artifact, (model_folder, evaluation_summary, *summaries, predictions)),
        *("m", "manual", "data-1", "service-1", "run-1"),
        *(registration, artifact(tmp_path / "registered")),
    ).version
    assert version == "1"
    assert (tmp_path / "registered" / "model.safetensors").read_bytes() == b"weights"
    assert registration.metadata == {"version": "1", "approval": "pending"}
    card = (tmp_path / "registered" / "README.md").read_text()
    for told in ("2 of 9 groups", "lowers the probability", "4.0% of the labels", "7 rows read"):
        assert told in card
    with pytest.raises(UserError, match="waits for approval"):
        component.promote_model.python_func("m", "1")
    component.promote_model.python_func("m", "1", approved_by="ada")
    champion = artifact(tmp_path / "champion")
    assert component.fetch_champion.python_func("m", champion).version == "1"
    digest = folder_digest(tmp_path / "registered")
    assert champion.metadata == {"version": "1", "digest": digest}
    model, table = artifact(tmp_path / "model"), artifact(tmp_path / "table")
    component.fetch_version.python_func("m", "champion", model, table)
    assert (tmp_path / "table").read_bytes() == predictions.read_bytes()
