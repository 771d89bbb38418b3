import json
import shutil

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from components.evaluation.evaluate import evaluate
from components.evaluation.gate import GateOptions
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, read_parquet, write_json
from components.shared.records.model_folder import NO_CHAMPION
from components.shared.records.reviews import predictions_schema
from tests.evaluation.conftest import review_rows, write_model, write_run


def evaluated(artifacts, tmp_path, champion=None):
    outputs = tmp_path / "predictions", tmp_path / "summary"
    return evaluate(*artifacts, champion, *outputs, GateOptions(0.3, 0.1), progress=False)


def changed_model(run_artifacts, folder, file, **changes):
    shutil.copytree(run_artifacts[0], folder)
    write_json(folder / file, read_json(folder / file) | changes)
    return folder


@pytest.fixture(scope="module")
def outcome(run_artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    summary = evaluated(run_artifacts, folder)
    return summary, read_parquet(folder / "predictions", predictions_schema()), folder


def test_scores_agree_with_scikit_learn_on_the_predictions(outcome):
    summary, predictions, _ = outcome
    truth, predicted = predictions["sentiment"].to_numpy(), predictions["predicted"].to_numpy()
    assert summary["rows"] == len(predictions) == 200
    found = {name: estimate["value"] for name, estimate in summary["scores"].items()}
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    f1 = sklearn_metrics.f1_score(truth, predicted, average="macro")
    assert found["macro_f1"] == pytest.approx(f1)
    confusion = sklearn_metrics.confusion_matrix(truth, predicted, labels=[-1, 0, 1])
    assert summary["confusion_matrix"] == confusion.tolist()
    chances = np.column_stack([predictions[f"p_{name}"] for name in summary["classes"]])
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    loss = sklearn_metrics.log_loss(truth, chances)
    assert summary["calibration"]["after"]["log_loss"] == pytest.approx(loss)


def test_summary_is_strict_json_and_equals_what_is_returned(outcome):
    summary, _, folder = outcome
    assert read_json(folder / "summary") == json.loads(json.dumps(summary, allow_nan=False))


def test_slices_cover_every_row(outcome):
    summary, _, _ = outcome
    for kind, slices in summary["slices"].items():
        assert sum(entry["rows"] for entry in slices) == summary["rows"], kind


def test_mistakes_are_mistakes_and_carry_their_text(outcome):
    summary, predictions, _ = outcome
    by_id = {row["review_id"]: row for row in predictions.to_pylist()}
    assert summary["mistakes"]
    for entry in summary["mistakes"]:
        row = by_id[entry["review_id"]]
        assert entry["truth"] != entry["predicted"] == row["label"]
        assert entry["review_body"] == row["review_body"]
        assert entry["probability"] == pytest.approx(row[f"p_{entry['predicted']}"])


@pytest.mark.parametrize("note", [[], [NO_CHAMPION]])
def test_an_empty_folder_or_a_note_means_no_champion(run_artifacts, tmp_path, note):
    (tmp_path / "champion").mkdir()
    for name in note:
        (tmp_path / "champion" / name).touch()
    summary = evaluated(run_artifacts, tmp_path, tmp_path / "champion")
    assert summary["champion"]["verdict"] == "no champion"


def test_a_model_is_not_worse_than_itself(run_artifacts, tmp_path):
    comparison = evaluated(run_artifacts, tmp_path, champion=run_artifacts[0])["champion"]
    assert comparison["verdict"] == "not worse"
    assert comparison["macro_f1_difference"]["value"] == 0
    assert comparison["mcnemar_p_value"] == 1
    assert not comparison["may_have_seen_test"]


def test_a_champion_that_learned_from_fewer_reviews_has_not_seen_the_same_test_split(
    run_artifacts, tmp_path
):
    champion = changed_model(run_artifacts, tmp_path / "champion", "training.json", splits="fewer")
    comparison = evaluated(run_artifacts, tmp_path, champion=champion)["champion"]
    assert not comparison["may_have_seen_test"]


def test_champion_reads_with_its_own_tokenizer(run_artifacts, tmp_path):
    """The same model behind other ids: shifted ids and embeddings must give equal decisions."""
    from safetensors.torch import load_file, save_file

    champion = changed_model(run_artifacts, tmp_path / "champion", "training.json", splits="other")
    write_json(
        champion / "training.json", read_json(champion / "training.json") | {"test_split": ""}
    )
    tokenizer = read_json(champion / "tokenizer.json")
    vocabulary = tokenizer["model"]["vocab"]
    first, second = vocabulary["awful"], vocabulary["great"]
    vocabulary |= {"awful": second, "great": first}
    write_json(champion / "tokenizer.json", tokenizer)
    weights = load_file(champion / "model.safetensors")
    embeddings = weights["bert.embeddings.word_embeddings.weight"]
    embeddings[[first, second]] = embeddings[[second, first]]
    save_file(weights, champion / "model.safetensors", metadata={"format": "pt"})
    comparison = evaluated(run_artifacts, tmp_path, champion=champion)["champion"]
    assert not comparison["reads_alike"]
    assert comparison["only_new_right"] == comparison["only_champion_right"] == 0
    assert comparison["may_have_seen_test"]


def test_an_incomplete_champion_folder_raises_an_error(run_artifacts, tmp_path):
    (champion := tmp_path / "champion").mkdir()
    (champion / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"champion is not a whole model folder"):
        evaluated(run_artifacts, tmp_path, champion=champion)


def test_one_class_absent_in_test(tiny_bert, run_artifacts, tmp_path):
    rows = review_rows(120, seed=3)
    kept = [row for row in rows if row["split"] != "test" or row["sentiment"] != 0]
    training_set, prepared = write_run(tmp_path, kept, tiny_bert)
    summary = evaluated((run_artifacts[0], training_set, prepared), tmp_path)
    assert summary["roc"][1]["auc"] is None
    assert any("no neutral review" in warning for warning in summary["warnings"])
    predictions = read_parquet(tmp_path / "predictions", predictions_schema())
    truth, predicted = predictions["sentiment"], predictions["predicted"]
    f1 = sklearn_metrics.f1_score(truth, predicted, labels=[-1, 1], average="macro")
    assert summary["scores"]["macro_f1"]["value"] == pytest.approx(f1)


def test_without_test_rows_nothing_is_written(tiny_bert, run_artifacts, tmp_path):
    rows = [row for row in review_rows(40) if row["split"] != "test"]
    training_set, prepared = write_run(tmp_path, rows, tiny_bert)
    with pytest.raises(UserError, match="no test rows"):
        evaluated((run_artifacts[0], training_set, prepared), tmp_path)
    assert not (tmp_path / "summary").exists()


def test_texts_of_another_run_are_refused(tiny_bert, run_artifacts, tmp_path):
    _, prepared = write_run(tmp_path, review_rows(20), tiny_bert)
    with pytest.raises(UserError, match=r"review r\d+ of the test split"):
        evaluated((run_artifacts[0], run_artifacts[1], prepared), tmp_path)


def test_diverged_model_is_refused(tiny_bert, run_artifacts, tmp_path):
    import torch

    from components.shared.machine.inference import load_model

    broken = write_model(tmp_path / "model", tiny_bert)
    model = load_model(broken)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    model.save_pretrained(broken)
    with pytest.raises(UserError, match="not finite"):
        evaluated((broken, *run_artifacts[1:]), tmp_path)


def test_a_class_without_training_rows_is_never_predicted(run_artifacts, tmp_path):
    prior = {"class_prior": [0.4, 0.0, 0.6]}
    model = changed_model(run_artifacts, tmp_path / "model", "training.json", **prior)
    view = evaluated((model, *run_artifacts[1:]), tmp_path)["balanced_view"]
    assert np.asarray(view["confusion_matrix"])[:, 1].sum() == 0


def test_balanced_view_is_the_mean_recall(outcome):
    view = outcome[0]["balanced_view"]
    matrix = np.asarray(view["confusion_matrix"], dtype=float)
    recall = np.diagonal(matrix) / matrix.sum(axis=1)
    assert view["accuracy"]["value"] == pytest.approx(recall.mean())


def test_a_wrong_temperature_is_reported(run_artifacts, tmp_path):
    wrong = {"temperature": 0.05, "decision_offsets": [0.0, 0.0, 0.0]}
    model = changed_model(run_artifacts, tmp_path / "model", "calibration.json", **wrong)
    calibration = evaluated((model, *run_artifacts[1:]), tmp_path)["calibration"]
    assert not calibration["temperature_agrees"]


def test_report_reads_what_evaluation_writes(run_artifacts, outcome, tmp_path):
    from components.report.training_page import RunArtifacts, compose_report

    summary, _, folder = outcome
    missing, report = tmp_path / "none", tmp_path / "report.html"
    artifacts = RunArtifacts(missing, missing, missing, run_artifacts[0], folder / "summary")
    compose_report(artifacts, report)
    page = report.read_text(encoding="utf-8")
    assert f"{summary['scores']['macro_f1']['value']:.3f}" in page
    assert "\u2013</dd>" not in page[: page.index("<main>")]  # no tile without its number
    for entry in summary["slices"]["length"]:
        assert entry["name"] in page
