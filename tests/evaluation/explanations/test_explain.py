import json

import numpy as np
import pytest

from components.evaluation.explanations.explain import (
    equally_many,
    explain_answers,
    surest_mistakes,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, read_parquet
from components.shared.records.reviews import PREPARED_SCHEMA
from tests.evaluation.conftest import review_rows, write_run


@pytest.fixture(scope="module")
def summary(run_artifacts, tmp_path_factory):
    path = tmp_path_factory.mktemp("explained") / "summary"
    return explain_answers(*run_artifacts, 9, path, progress=False), path


def test_the_summary_is_strict_json_and_holds_the_proof(summary):
    found, path = summary
    assert read_json(path) == json.loads(json.dumps(found, allow_nan=False))
    assert found["explained"] == 9
    assert 0 <= found["completeness_error"] <= found["largest_completeness_error"] <= 0.05
    deletion = found["deletion"]
    assert deletion["low"] <= deletion["value"] <= deletion["high"]
    assert deletion["value"] > deletion["random"]


def test_single_answers_are_right_ones_and_mistakes_of_the_test_split(summary, run_artifacts):
    found, _ = summary
    split = {
        row["review_id"]: row["split"]
        for row in read_parquet(run_artifacts[2], PREPARED_SCHEMA).to_pylist()
    }
    assert found["right"]
    assert found["mistakes"]
    assert all(one["truth"] == one["label"] for one in found["right"])
    assert all(one["truth"] != one["label"] for one in found["mistakes"])
    assert {split[one["review_id"]] for one in found["right"] + found["mistakes"]} == {"test"}
    sure = [one["probabilities"][one["label"]] for one in found["mistakes"]]
    assert sure == sorted(sure, reverse=True)


def test_the_same_reviews_give_the_same_summary(summary, run_artifacts, tmp_path):
    again = explain_answers(*run_artifacts, 9, tmp_path / "again", progress=False)
    assert again | {"seconds": 0} == summary[0] | {"seconds": 0}


def test_a_class_that_is_absent_and_one_word_reviews_are_no_obstacle(
    tiny_bert, run_artifacts, tmp_path
):
    rows = [row for row in review_rows(60, seed=3) if row["sentiment"] != 0]
    rows = [row | {"title": None, "review_body": row["review_body"].split()[0]} for row in rows]
    artifacts = run_artifacts[0], *write_run(tmp_path, rows, tiny_bert)
    found = explain_answers(*artifacts, 5, tmp_path / "summary", progress=False)
    assert found["deletion"]["value"] is None
    assert found["deletion"]["reviews"] == 0
    json.dumps(found, allow_nan=False)


def test_what_cannot_be_explained_is_said_and_nothing_is_written(
    tiny_bert, run_artifacts, tmp_path
):
    with pytest.raises(UserError, match="explained_reviews is 0"):
        explain_answers(*run_artifacts, 0, tmp_path / "summary")
    rows = [row for row in review_rows(40) if row["split"] != "test"]
    artifacts = run_artifacts[0], *write_run(tmp_path, rows, tiny_bert)
    with pytest.raises(UserError, match="no test rows to explain"):
        explain_answers(*artifacts, 5, tmp_path / "summary", progress=False)
    assert not (tmp_path / "summary").exists()


def test_each_class_gets_as_many_reviews_as_there_are():
    classes = np.array([2] * 10 + [0, 1, 1, 0, 0])
    rows = equally_many(classes, 9)
    assert np.bincount(classes[rows]).tolist() == [3, 2, 4]
    assert len(set(rows)) == 9
    assert len(equally_many(classes, 99)) == 15


def test_the_surest_of_the_wrong_come_first():
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
    decided = chances.argmax(axis=1)
    assert surest_mistakes(np.array([0, 0, 0, 1]), decided, chances) == [1, 2]
