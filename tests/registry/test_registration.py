import pytest

from components.registry import versions as registry
from components.registry.registration import numbers_of
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json
from components.shared.machine.tracking import tracking_client
from components.shared.records.model_folder import NO_CHAMPION
from tests.registry.conftest import NAME


@pytest.fixture
def registered(mlflow_file, register_version):
    return register_version


def test_a_version_carries_lineage_scores_curves_and_files(registered, tmp_path, predictions):
    result = registered(data_fingerprint="data-1")
    client = tracking_client()
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "3e-05"
    assert run.data.metrics["macro_f1"] == 0.71
    assert run.data.metrics["slices.Tops _ more.n"] == 12
    curve = client.get_metric_history(result.run_id, "training.loss")
    assert [(point.step, point.value) for point in curve] == [(10, 0.9), (20, 0.5)]
    version = registry.show_version(NAME, "challenger")
    assert version.version == result.version == "1"
    expected = {"data_fingerprint": "data-1", "base_model": "minilm", "code_version": "abc123"}
    expected |= {"pipeline_run": "run-1", "accuracy": "0.8700", "approval": "approved"}
    assert expected.items() <= version.tags.items()
    written = read_json(tmp_path / "registration.json")
    assert (written["version"], written["approval"]) == ("1", "approved")
    registry.fetch_version(NAME, "1", tmp_path / "back", tmp_path / "back.parquet")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "back.parquet").read_bytes() == predictions.read_bytes()


def test_the_same_run_registers_once_and_another_run_again(registered):
    assert registered().version == "1"
    assert registered().version == "1"
    assert registered(pipeline_run="run-2").version == "2"
    assert [version.version for version in registry.list_versions(NAME)] == ["2", "1"]


STEPS = ("log_batch", "log_artifacts", "log_artifact", "create_model_version")


def failing(*_args, **_kwargs):
    raise OSError("disk full")


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_step_leaves_no_version_and_a_failed_run(registered, monkeypatch, step):
    registered()
    with monkeypatch.context() as patch:
        patch.setattr(f"mlflow.MlflowClient.{step}", failing)
        with pytest.raises(OSError, match="disk full"):
            registered(pipeline_run="run-2")
    assert [version.version for version in registry.list_versions(NAME)] == ["1"]
    assert registry.show_version(NAME, "challenger").version == "1"
    client = tracking_client()
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    found = {run.info.run_name: run.info.status for run in runs}
    assert found == {"run-1": "FINISHED", "run-2": "FAILED"}


def test_a_version_without_its_alias_does_not_stay(registered, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_registered_model_alias", failing)
        with pytest.raises(OSError, match="disk full"):
            registered()
    assert registry.list_versions(NAME) == []


def test_an_injected_run_is_used_and_left_open(registered, monkeypatch, tmp_path):
    client = tracking_client()
    experiment = client.create_experiment("injected", (tmp_path / "kept").as_uri())
    run_id = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    assert registered().run_id == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.metrics["accuracy"] == 0.87


def test_a_version_belongs_to_the_run_of_its_training_unless_another_does(registered):
    client = tracking_client()
    experiment = client.create_experiment(NAME)
    trained = client.create_run(experiment).info.run_id
    client.set_terminated(trained, "FINISHED")
    assert registered(mlflow_run=trained).run_id == trained
    run = client.get_run(trained)
    assert (run.info.status, run.data.metrics["accuracy"]) == ("FINISHED", 0.87)
    assert client.get_metric_history(trained, "training.loss") == []  # Training logged it.
    assert registered(mlflow_run=trained, pipeline_run="run-2").run_id != trained
    assert registered(mlflow_run="0" * 32, pipeline_run="run-3").run_id != "0" * 32


def test_lineage_that_contradicts_the_model_is_refused(registered):
    with pytest.raises(UserError, match=r"data_fingerprint data-1, but .* data-2"):
        registered(data_fingerprint="data-2")
    assert registry.list_versions(NAME) == []


def test_unknown_approval_and_missing_inputs_are_refused(registered, predictions, tmp_path):
    with pytest.raises(UserError, match="auto or manual"):
        registered(approval="maybe")
    with pytest.raises(UserError, match="not a whole model folder"):
        registered(folder=tmp_path / "nothing")
    predictions.unlink()
    with pytest.raises(UserError, match=r"predictions\.parquet does not exist"):
        registered()


def test_promotion_waits_for_approval(registered, make_model_folder, tmp_path):
    registered()
    assert registry.fetch_champion(NAME, tmp_path / "champion") == ""
    assert [path.name for path in (tmp_path / "champion").iterdir()] == [NO_CHAMPION]
    registry.promote(NAME, "1")
    assert registry.show_version(NAME, "1").aliases == ("champion",)
    registered(make_model_folder(tmp_path / "second", b"better"), "manual", "run-2")
    with pytest.raises(UserError, match="make approve VERSION=2"):
        registry.promote(NAME, "2")
    assert registry.fetch_champion(NAME, tmp_path / "champion") == "1"
    with pytest.raises(UserError, match="who approves"):
        registry.approve(NAME, "2", " ")
    registry.approve(NAME, "2", "ada")
    registry.promote(NAME, "2")
    assert registry.fetch_champion(NAME, tmp_path / "champion") == "2"
    assert (tmp_path / "champion" / "model.safetensors").read_bytes() == b"better"
    assert registry.show_version(NAME, "previous").version == "1"
    assert registry.show_version(NAME, "2").tags["approved_by"] == "ada"
    registry.promote(NAME, "2")
    assert registry.show_version(NAME, "previous").version == "1"


def test_where_a_version_is_refused_the_target_is_unchanged(registered, mlflow_file, tmp_path):
    registered()
    weights = next((mlflow_file.parent / "artifacts").rglob("model.safetensors"))
    weights.write_bytes(b"tampered")
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "kept").touch()
    with pytest.raises(UserError, match=r"model\.safetensors was changed"):
        registry.fetch_version(NAME, "1", tmp_path / "back", tmp_path / "back.parquet")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["kept"]


def test_an_unknown_version_raises_an_error_with_the_known_ones(registered, mlflow_file):
    with pytest.raises(UserError, match="no versions yet"):
        registry.promote(NAME, "1")
    registered()
    with pytest.raises(UserError, match="no version '7'; it has versions 1"):
        registry.promote(NAME, "7")


def test_numbers_of_keeps_finite_numbers_with_their_path():
    content = {"a": 1, "b": {"c": 0.5, "d": float("nan"), "e": "x"}, "f": [1, 2], "g": True}
    assert numbers_of(content) == {"a": 1.0, "b.c": 0.5, "g": 1.0}


def test_the_card_of_a_version_tells_what_the_steps_found_and_is_its_description(
    registered, tmp_path
):
    found = {
        "bias": {"headline": "3 of 33 groups differ for sure.", "findings": []},
        "explanation": {"deletion": {"value": 0.29, "random": 0.0}, "completeness_error": 0.004},
    }
    for name, content in found.items():
        write_json(tmp_path / f"{name}.json", content)
    result = registered(summaries={name: tmp_path / f"{name}.json" for name in found})
    client = tracking_client()
    described = client.get_model_version(NAME, "1").description
    assert described.startswith("# Sentiment of product reviews")
    assert "3 of 33 groups differ for sure." in described
    registry.fetch_version(NAME, "1", tmp_path / "back", tmp_path / "back.parquet")
    assert (tmp_path / "back" / "README.md").read_text().endswith(described)
    kept = client.list_artifacts(result.run_id, "bias")
    assert [file.path for file in kept] == ["bias/summary.json"]
    metrics = client.get_run(result.run_id).data.metrics
    assert metrics["explanation.deletion.value"] == 0.29


def test_a_summary_that_is_not_there_registers_nothing(registered, tmp_path):
    with pytest.raises(UserError, match=r"gone\.json does not exist"):
        registered(summaries={"bias": tmp_path / "gone.json"})
    assert registry.list_versions(NAME) == []
