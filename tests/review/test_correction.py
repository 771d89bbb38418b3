import json

import numpy as np
import pyarrow as pa
import pytest

from components.review import correction
from components.review.correction import (
    AT_RANDOM,
    BEFORE,
    CORRECTED,
    DROPPED,
    WITH_LIVE,
    Price,
    read_corrected,
    report_corrections,
    variants_of,
)
from components.shared.machine.files import write_parquet
from components.shared.machine.label_experiment import SEEDS
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import PREPARED_SCHEMA, TRAINING_SET_SCHEMA
from tests.labelling.conftest import prepared_rows

PRICE = Price(votes=300, seconds=12.0, wage=30.0)
GAIN = {"value": 0.02, "low": 0.01, "high": 0.03}
NETWORK = {"verdict": "better", "macro_f1_difference": GAIN, "accuracy_difference": GAIN}
NETWORK |= {"mcnemar_p_value": 0.01}


@pytest.fixture
def report(tmp_path):
    """Corrupts every fourth training label, and reports on some of them being corrected."""

    def made(corrected, live=0, rows=900, network=NETWORK, weak=0):
        true = prepared_rows(rows)
        prepared, learned = [], []
        for number, row in enumerate(true):
            given = row["sentiment"]
            wrong = row["split"] == "train" and number % 4 == 0
            row = row | {"sentiment": (given + 2) % 3 - 1 if wrong else given}
            asked = wrong and number // 4 % 100 < 100 * corrected
            prepared.append(row)
            now = {"sentiment": given, "label_source": "reviewer"} if asked else {}
            learned.append(row | now | {"input_ids": [1], "n_tokens": 1})
        for number, row in enumerate(prepared_rows(live + weak, seed=9)):
            source = {"label_source": "reviewer", "weight": 2.0}
            if number >= live:
                source = {"label_source": "weak"}
            row |= {"split": "train", "review_id": f"live{number}", **source}
            prepared.append(row)
            learned.append(row | {"input_ids": [1], "n_tokens": 1})
        for name, schema, some in (
            ("prepared", PREPARED_SCHEMA, prepared),
            ("training_set", TRAINING_SET_SCHEMA, learned),
        ):
            whole = [{field: row.get(field) for field in schema.names} for row in some]
            write_parquet(tmp_path / name, pa.Table.from_pylist(whole, schema=schema))
        places = tmp_path / "prepared", tmp_path / "training_set", tmp_path / "summary"
        found = report_corrections(*places, PRICE, network)
        assert json.loads(places[2].read_text()) == json.loads(json.dumps(found))
        return found

    return made


def by_name(found):
    return {one["name"]: one for one in found["experiment"]}


def test_corrections_are_compared_with_asking_nobody_and_with_what_costs_less(report):
    found = report(corrected=1.0)
    ways = by_name(found)
    assert list(ways) == [BEFORE, CORRECTED, AT_RANDOM, DROPPED]
    assert ways[CORRECTED]["verdict"] == "helps"
    assert (
        ways[CORRECTED]["macro_f1"] > ways[AT_RANDOM]["macro_f1"] > ways[BEFORE]["macro_f1"] - 0.05
    )
    assert ways[DROPPED]["rows"] == found["training_rows"] - found["reviewed"]
    assert (found["reviewed"], found["changed"]) == (180, 180)
    gained = 100 * ways[CORRECTED]["difference"]["value"]
    assert found["price"] == pytest.approx(30.0)
    assert found["price_per_point"] == pytest.approx(30.0 / gained)
    assert "a point of macro-F1 cost" in found["verdict"]


def test_asking_at_random_finds_as_many_errors_as_the_share_that_is_asked(report, tmp_path):
    report(corrected=0.5)
    rows = read_corrected(tmp_path / "prepared", tmp_path / "training_set", SENTIMENTS)
    teach = variants_of(rows)[AT_RANDOM].teach
    undone = np.mean([(teach(seed).classes != rows.given).sum() for seed in range(200)])
    assert undone == pytest.approx(rows.changed.sum() * rows.reviewed.mean(), rel=0.15)


def test_the_changed_labels_are_judged_by_models_that_never_saw_them(report):
    found = report(corrected=1.0)["slice"]
    assert found["rows"] == 180
    assert found["accuracy_after"] > found["accuracy_before"]
    assert found["accuracy_difference"]["low"] > 0
    assert found["p_value"] < 0.05
    assert report(corrected=0.05)["slice"] is None  # too few to judge on


def test_no_changed_label_is_judged_by_a_model_that_learned_from_its_row(
    report, tmp_path, monkeypatch
):
    report(corrected=1.0)
    rows = read_corrected(tmp_path / "prepared", tmp_path / "training_set", SENTIMENTS)
    judged = []

    class Model:
        def fit(self, matrix, classes):
            self.seen = {row.tobytes() for row in matrix.toarray()}
            return self

        def predict(self, matrix):
            judged.extend(row.tobytes() in self.seen for row in matrix.toarray())
            return np.zeros(matrix.shape[0], np.int64)

    monkeypatch.setattr(correction, "linear_classifier", lambda seed, alpha: Model())
    correction.changed_slice(rows, seed=1)
    assert len(judged) == 2 * rows.changed.sum()
    assert not any(judged)


def test_live_reviews_are_learned_from_by_their_weight(report, tmp_path):
    found = report(corrected=0.5, live=200, weak=30)
    ways = by_name(found)
    assert found["live"] == 200
    assert ways[WITH_LIVE]["rows"] == ways[CORRECTED]["rows"] + 200
    rows = read_corrected(tmp_path / "prepared", tmp_path / "training_set", SENTIMENTS)
    taught = variants_of(rows)[WITH_LIVE].teach(0)
    assert (taught.weights[rows.live] == 2.0).all()
    only = report(corrected=0, live=200)
    assert list(by_name(only)) == [BEFORE, WITH_LIVE]


def test_without_corrections_there_is_nothing_to_compare(report):
    found = report(corrected=0, network={"verdict": "no champion"})
    assert found["reason"] == "no label of the training data was corrected"
    assert (found["experiment"], found["network"], found["slice"]) == ([], None, None)


def test_the_trained_model_is_told_beside_the_linear_one(report):
    assert report(corrected=1.0)["network"]["mcnemar_p_value"] == 0.01


def test_a_baseline_that_does_as_well_is_named(report, monkeypatch):
    def alike(variants, truth, classes, seed, alpha):
        from components.shared.machine.label_experiment import Change
        from components.shared.statistics.scores import Estimate

        return [Change(n, 5, 0.5, Estimate(0.01, 0.005, 0.02), "helps") for n in variants]

    monkeypatch.setattr(correction, "compare_variants", alike)
    assert f"{AT_RANDOM} and {DROPPED} did no worse, and cost less" in report(1.0)["verdict"]
    assert SEEDS > 1
