import json
import shutil
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.model.predictor import FeatureLookup, Predictor
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json, write_parquet
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.decision import decide, probabilities
from components.shared.records.labels import SENTIMENTS
from components.shared.records.model_folder import read_calibration
from components.shared.records.reviews import PREPARED_SCHEMA
from components.shared.records.text import model_text
from tests.conftest import RATED

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
    assert said.labels == [SENTIMENTS.names[index] for index in said.classes]
    assert said.truncated == [False, True, False]


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_tokens_are_training_tokens_and_truncation_is_reported(served_folder, predictor, texts):
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


REVIEWS = {"r1": ("Nice", "lovely dress"), "r2": (None, LONG), "r3": (None, " Très  okay ")}


@pytest.fixture
def prepared(tmp_path):
    known = {"event_timestamp": datetime(2024, 1, 1, tzinfo=UTC), "split": "train", "copies": 1}
    known |= RATED
    rows = [
        {**dict.fromkeys(PREPARED_SCHEMA.names), **known, "review_id": review_id}
        | {"title": title, "review_body": body, "sentiment": 1}
        for review_id, (title, body) in REVIEWS.items()
    ]
    path = tmp_path / "prepared.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, schema=PREPARED_SCHEMA))
    return path


@pytest.mark.slow
def test_by_key_come_the_tokens_of_the_text(prepared, store_dir, served_folder, tmp_path):
    from components.features.publish import build_features
    from components.serving.server.sentiment_model import SentimentModel

    folder = tmp_path / "model"
    shutil.copytree(served_folder, folder)
    outputs = tmp_path / "features.parquet", tmp_path / "summary.json"
    published = build_features(prepared, str(folder), 32, "data-1", *outputs)
    facts = json.loads((folder / "training.json").read_text())
    facts["facts"]["feature_service"] = published.feature_service
    write_json(folder / "training.json", facts)

    model = SentimentModel("keyed", "1", folder, engine="torch", features=True)
    made = model._predictor.tokenise([model_text(*review) for review in REVIEWS.values()])
    assert [truncated for _, truncated in made] == [False, True, False]
    found = model._lookup.tokens([*REVIEWS, "r9"])
    assert [(list(ids), cut) for ids, cut in found[:-1]] == [(list(ids), cut) for ids, cut in made]
    assert found[-1] is None
    model.stop()
    with pytest.raises(UserError, match="is not registered"):
        FeatureLookup("reviews_of_another_day", 32)


def test_without_a_store_or_a_service_it_says_so(store_dir):
    with pytest.raises(UserError, match="names no feature service"):
        FeatureLookup("", 32)
    with pytest.raises(UserError, match="no feature store in"):
        FeatureLookup("reviews_1", 32)
