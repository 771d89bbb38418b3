import asyncio

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.serving.server.sentiment_model import SentimentModel
from components.shared.records.labels import SENTIMENTS
from components.shared.records.model_folder import read_calibration
from components.shared.records.model_logits import texts_of
from tests.serving.batch.conftest import scored, write_reviews

# How far a probability may move with the reviews that share a pass; docs/batch.md states the same.
WITHIN = {"torch": 1e-5, "openvino-bf16": 0.03, "openvino-int8": 0.05}
P = [f"p_{name}" for name in SENTIMENTS.names]


def online(folder, texts, engine):
    """What the model server's model answers, in requests of seven reviews that come together."""
    patient = {"max_wait_seconds": 3600.0}
    model = SentimentModel("sentiment", "3", folder, engine=engine, limits=patient)

    async def ask():
        groups = [{"instances": texts[start : start + 7]} for start in range(0, len(texts), 7)]
        return await asyncio.gather(*(model.predict(one, {}) for one in groups))

    try:
        return [row for answer in asyncio.run(ask()) for row in answer["predictions"]]
    finally:
        model.stop()


@pytest.mark.parametrize("engine", WITHIN)
def test_batch_answers_as_the_model_server_does(score, outspoken_folder, tmp_path, engine):
    reviews = write_reviews(tmp_path / "reviews.parquet", 120, shard=60)
    score(reviews, outspoken_folder, engine=engine)
    rows = scored(tmp_path / "out")
    served = online(outspoken_folder, texts_of(pq.read_table(reviews)), engine)
    ours = np.array([[row[name] for name in P] for row in rows])
    theirs = np.array([list(row["probabilities"].values()) for row in served])
    assert np.abs(ours - theirs).max() <= WITHIN[engine]
    assert [row["truncated"] for row in rows] == [row["truncated"] for row in served]
    offsets = read_calibration(outspoken_folder).decision_offsets
    second, first = np.sort(ours * np.exp(offsets))[:, -2:].T
    clear = first - second > WITHIN[engine]
    labels = np.array(
        [(row["label"], other["label"]) for row, other in zip(rows, served, strict=True)]
    )
    assert (labels[clear, 0] == labels[clear, 1]).all()
    # Answers that hardly differ would be equal in any order.
    assert ours.std(axis=0).max() > 0.1
    assert clear.mean() > 0.5


def test_a_sparse_model_scores_in_the_same_way(score, tmp_path):
    import math

    from components.automl.candidates import all_candidates
    from components.automl.task import read_task
    from tests.automl.conftest import write_prepared

    task = read_task(write_prepared(tmp_path / "prepared"), "", "", {})
    candidate = all_candidates()["linear"]
    candidate.fit(task, candidate.first, 1, math.inf, tmp_path / "model")
    reviews = write_reviews(tmp_path / "reviews.parquet")
    done = score(reviews, tmp_path / "model", engine="auto")
    assert done.engine == "sparse"
    served = online(tmp_path / "model", texts_of(pq.read_table(reviews)), "auto")
    assert [row["label"] for row in scored(tmp_path / "out")] == [row["label"] for row in served]
