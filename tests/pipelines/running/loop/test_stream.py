from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.labels import LabelSet
from components.shared.records.reviews import REVIEW_SCHEMA
from pipelines.running.loop.stream import divide


def reviews(tmp_path, rows, labels="", categories=("Dresses", "Knits", "Trend", "Dresses")):
    labels = LabelSet.parse(labels)
    random = np.random.default_rng(0)
    table = [
        {
            "review_id": f"r{n}",
            "review_body": f"review number {n}",
            "sentiment": int(random.choice(labels.values)),
            "product_category": categories and categories[random.integers(len(categories))],
            "event_timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for n in range(rows)
    ]
    path = tmp_path / "reviews.parquet"
    write_parquet(path, pa.Table.from_pylist(table, schema=labels.on(REVIEW_SCHEMA)))
    return path


def divided(tmp_path, path, seed=1):
    parts = tmp_path / "history.parquet", tmp_path / "today.parquet"
    made = divide(path, *parts, seed)
    return made, *(read_parquet(part, REVIEW_SCHEMA).to_pylist() for part in parts)


def test_what_is_asked_today_was_never_trained_on_and_has_changed(tmp_path):
    made, history, today = divided(tmp_path, reviews(tmp_path, 2000))
    assert not {row["review_id"] for row in history} & {row["review_id"] for row in today}
    assert (len(history), len(today)) == (made.history, made.today)
    share = sum(row["product_category"] == "Dresses" for row in today) / len(today)
    assert made.category == "Dresses"
    assert share == pytest.approx(made.category_today)
    assert made.category_today > 1.2 * made.category_before
    assert made.label == "negative"
    assert made.label_today > 1.2 * made.label_before
    assert "Dresses" in made.sentence


def test_the_same_seed_divides_the_same_way(tmp_path):
    path = reviews(tmp_path, 500)
    assert divided(tmp_path, path) == divided(tmp_path, path)
    assert divided(tmp_path, path, seed=2)[1] != divided(tmp_path, path)[1]


def test_reviews_without_categories_and_with_other_classes_are_divided_too(tmp_path):
    made, _, _ = divided(tmp_path, reviews(tmp_path, 600, "bad=0 good=1", categories=None))
    assert made.category == ""
    assert made.label == "bad"
    assert made.label_today > made.label_before


def test_a_handful_of_reviews_is_refused(tmp_path):
    with pytest.raises(UserError, match="50 labelled reviews are too few"):
        divided(tmp_path, reviews(tmp_path, 50))
