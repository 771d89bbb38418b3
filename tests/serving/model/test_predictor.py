import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.model.predictor import Predictor
from components.shared.machine.errors import UserError
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.decision import decide, probabilities
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.model_folder import read_calibration

LONG = "the fabric is itchy and tight " * 20


@pytest.fixture(scope="module")
def predictor(served_folder):
    return Predictor(served_folder, "torch")


def tokenised(folder, texts):
    """What training's tokenizer makes of texts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, truncation=True, max_length=32)["input_ids"] for text in texts]


def test_it_decides_as_evaluation_does_and_cuts_as_training_does(served_folder, predictor):
    texts = ["lovely dress", LONG, "okay"]
    said = predictor.predict(texts)
    logits = predict_logits(load_model(served_folder), tokenised(served_folder, texts))
    calibration = read_calibration(served_folder)
    assert said.classes.tolist() == decide(logits, calibration).tolist()
    assert abs(said.probabilities - probabilities(logits, calibration)).max() < 1e-6
    assert said.labels == [CLASS_NAMES[index] for index in said.classes]
    assert said.truncated == [False, True, False]


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_tokens_are_training_tokens_and_truncation_is_told(served_folder, predictor, texts):
    made = predictor.tokenise(texts)
    assert [list(ids) for ids, _ in made] == tokenised(served_folder, texts)
    assert all(not truncated or len(ids) == 32 for ids, truncated in made)


def test_a_text_that_just_fits_is_not_said_to_be_cut(predictor):
    (fits,) = predictor.tokenise(["the " * 30])
    (cut,) = predictor.tokenise(["the " * 31])
    assert (len(fits.ids), fits.truncated) == (32, False)
    assert (len(cut.ids), cut.truncated) == (32, True)


def test_a_damaged_tokenizer_is_said_in_words(served_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(served_folder, folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        Predictor(folder)
