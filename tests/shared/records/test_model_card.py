import pytest
from huggingface_hub import ModelCard

from components.shared.machine.files import write_json
from components.shared.records.model_card import write_model_card

LABELS = {"0": "bad", "1": "fair", "2": "good"}
SCORES = {
    "accuracy": {"value": 0.87, "low": 0.83, "high": 0.9},
    "macro_f1": {"value": 0.71, "low": 0.6, "high": 0.8},
}


@pytest.fixture
def card_of(tmp_path):
    def card(base_model="minilm", offsets=(0, 0, 0), summary=None):
        write_json(tmp_path / "config.json", {"id2label": LABELS})
        calibration = {"temperature": 1, "decision_offsets": offsets}
        write_json(tmp_path / "calibration.json", calibration)
        training = {"base_model": base_model, "max_tokens": 160, "class_prior": [0.1, 0.2, 0.7]}
        training |= {"facts": {"data_fingerprint": "abcdef0123456789", "base_model": base_model}}
        training |= {"best": {"accuracy": 0.85, "macro_f1": 0.7}, "rows": {"train": 1200}}
        write_json(tmp_path / "training.json", training)
        write_model_card(tmp_path, summary, "reviews")
        return ModelCard.load(tmp_path / "README.md")

    return card


def test_the_hub_reads_what_the_model_is_and_how_good(card_of):
    card = card_of(summary={"scores": SCORES})
    said = card.data.to_dict()
    assert (said["license"], said["language"]) == ("apache-2.0", "en")
    assert said["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert said["pipeline_tag"] == "text-classification"
    assert said["datasets"] == ["reviews-abcdef012345"]
    accuracy, macro_f1 = card.data.eval_results
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.87)
    assert (macro_f1.metric_name, macro_f1.metric_value) == ("macro-F1", 0.71)
    assert macro_f1.metric_args == {"interval_95": [0.6, 0.8]}
    assert "| macro-F1 | 0.7100 | 0.6000 to 0.8000 |" in card.text
    assert "1200 reviews (bad 10.0%, fair 20.0%, good 70.0%)" in card.text


def test_before_evaluation_validation_speaks(card_of):
    card = card_of()
    assert card.data.eval_results is None
    assert "| macro-F1 | 0.7000 |" in card.text


def test_offsets_are_stated_where_they_decide(card_of):
    assert "The most probable class is the answer." in card_of().text
    assert "bad +0.00, fair +0.35, good +0.00" in card_of(offsets=(0, 0.35, 0)).text


def test_a_folder_of_ones_own_is_no_hub_model_and_stays_private(card_of, tmp_path):
    card = card_of(base_model=str(tmp_path))
    assert "base_model" not in card.data.to_dict()
    assert str(tmp_path.parent) not in card.content
    assert card_of(base_model="roberta-base").data.base_model == "roberta-base"


def test_licence_and_language_are_the_environments(card_of, monkeypatch):
    monkeypatch.setenv("MODEL_LICENSE", "mit")
    monkeypatch.setenv("MODEL_LANGUAGE", "de")
    assert (card_of().data.license, card_of().data.language) == ("mit", "de")
