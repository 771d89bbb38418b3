import asyncio
import json
import shutil
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from components.serving.model.feature_lookup import FeatureLookup
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.reviews import PREPARED_SCHEMA

LONG = "the fabric is itchy and tight " * 20
REVIEWS = {"r1": ("Nice", "lovely dress"), "r2": (None, LONG), "r3": (None, " Très  okay ")}


@pytest.fixture
def prepared(tmp_path):
    rows = len(REVIEWS)
    columns = {
        "review_id": list(REVIEWS),
        "title": [title for title, _ in REVIEWS.values()],
        "review_body": [body for _, body in REVIEWS.values()],
        "sentiment": [1, -1, 0],
        "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * rows,
        "split": ["train"] * rows,
        "copies": [1] * rows,
    }
    path = tmp_path / "prepared.parquet"
    arrays = {
        field.name: pa.array(columns.get(field.name, [None] * rows), field.type)
        for field in PREPARED_SCHEMA
    }
    write_parquet(path, pa.table(arrays, schema=PREPARED_SCHEMA))
    return path


@pytest.mark.slow
def test_by_key_comes_the_same_answer_as_by_text(prepared, store_dir, served_folder, tmp_path):
    from kserve.errors import InvalidInput

    from components.features.publish import build_features
    from components.serving.server.sentiment_model import SentimentModel, ServingOptions

    folder = tmp_path / "model"
    shutil.copytree(served_folder, folder)
    features, summary = tmp_path / "features.parquet", tmp_path / "summary.json"
    published = build_features(prepared, str(folder), 32, "data-1", features, summary)
    facts = json.loads((folder / "training.json").read_text())
    facts["facts"]["feature_service"] = published.feature_service
    write_json(folder / "training.json", facts)

    model = SentimentModel("keyed", "1", folder, ServingOptions(engine="torch", features=True))
    model.load()

    def ask(*instances):
        answer = model.predict({"instances": list(instances)}, {"content-length": "100"})
        return asyncio.run(answer)["predictions"]

    by_key = ask(*({"review_id": key} for key in REVIEWS))
    by_text = ask(*({"title": title, "review_body": body} for title, body in REVIEWS.values()))
    for found, expected in zip(by_key, by_text, strict=True):
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
        assert found["label"] == expected["label"]
        assert found["truncated"] == expected["truncated"]
    assert [row["truncated"] for row in by_text] == [False, True, False]
    with pytest.raises(InvalidInput, match="holds no review 'r9'"):
        ask({"review_id": "r1"}, {"review_id": "r9"})
    model.stop()

    with pytest.raises(UserError, match="is not registered"):
        FeatureLookup("reviews_of_another_day", 32)


def test_without_a_store_or_a_service_it_says_so(store_dir):
    with pytest.raises(UserError, match="names no feature service"):
        FeatureLookup("", 32)
    with pytest.raises(UserError, match="no feature store in"):
        FeatureLookup("reviews_1", 32)
