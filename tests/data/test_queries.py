"""The named queries say the same in every engine's dialect, and the same as pandas."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlglot

from components.data.query_process import Request, answer
from components.data.sql import Tables, named_queries
from components.shared.records.reviews import REVIEW_SCHEMA
from tests.data.conftest import write_reviews

QUERIES = named_queries()
CATEGORY, RATING, SENTIMENT = "product_category", "rating", "sentiment"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    from components.data.ingest import ingest

    folder = tmp_path_factory.mktemp("sample")
    ingest("sample", *(folder / name for name in ("reviews", "quarantine", "summary")))
    return folder / "reviews"


def rows_of(name, reviews, tmp_path):
    tables = Tables.of([str(reviews)], "sentiments")
    query = QUERIES[name][1]
    request = Request(query, tables.views, tables.files, 10**6, "1GB", str(tmp_path))
    return answer(request).read_all().to_pandas()


def test_every_query_says_what_it_answers():
    assert len(QUERIES) >= 8
    for about, query in QUERIES.values():
        assert 10 < len(about) < 80
        assert query.startswith("SELECT")


@pytest.mark.parametrize("name", QUERIES)
def test_every_engine_understands_a_query_as_it_stands(name):
    for dialect in ("duckdb", "trino", "athena", "spark"):
        (tree,) = sqlglot.parse(QUERIES[name][1], dialect=dialect)
        assert {table.name for table in tree.find_all(sqlglot.exp.Table)} == {"reviews"}
        names = {column.name for column in tree.find_all(sqlglot.exp.Column)}
        made = {alias.alias for alias in tree.find_all(sqlglot.exp.Alias)}
        assert names <= {*REVIEW_SCHEMA.names} | made
        (again,) = sqlglot.transpile(QUERIES[name][1], read="duckdb", write=dialect)
        assert sqlglot.parse_one(again, dialect=dialect)


def counted(frame, by):
    groups = frame.groupby(by, dropna=False)
    made = groups.agg(reviews=("review_id", "size"), mean_rating=(RATING, "mean"))
    return made.join(groups[SENTIMENT].mean().rename("mean_sentiment")).reset_index()


def expected(frame):
    """Each query's answer by pandas, in any order."""
    words = frame["review_body"].str.count(" ") + 1
    frame = frame.assign(
        characters=frame["review_body"].str.len(),
        words=words,
        review_month=frame["event_timestamp"].dt.tz_localize(None).dt.to_period("M"),
    )
    of_sentiment, cells = counted(frame, [SENTIMENT]), counted(frame, [CATEGORY, SENTIMENT])
    products = counted(frame.dropna(subset="clothing_id"), ["clothing_id"]).query("reviews >= 10")
    lengths = frame.groupby(RATING, dropna=False).agg(
        reviews=("review_id", "size"),
        mean_characters=("characters", "mean"),
        most_characters=("characters", "max"),
        mean_words=("words", "mean"),
    )
    return {
        "categories": counted(frame, [CATEGORY]),
        "categories-by-sentiment": cells,
        "sentiments": of_sentiment.assign(share=of_sentiment["reviews"] / len(frame)),
        "shares": cells.assign(
            share=cells["reviews"]
            / cells.groupby(CATEGORY, dropna=False)["reviews"].transform("sum")
        ),
        "over-time": counted(frame, ["review_month"]),
        "most-praised": products.nlargest(20, "mean_rating", keep="all"),
        "least-praised": products.nsmallest(20, "mean_rating", keep="all"),
        "lengths": lengths.reset_index(),
    }


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_answers_what_pandas_does(name, sample, tmp_path):
    found = rows_of(name, sample, tmp_path)
    truth = expected(pq.read_table(sample).to_pandas())[name]
    if name == "over-time":
        found["review_month"] = found["review_month"].dt.tz_localize(None).dt.to_period("M")
    key = [c for c in found if c in (CATEGORY, SENTIMENT, RATING, "review_month", "clothing_id")]
    if name.endswith("praised"):
        assert len(found) == min(20, len(truth))
        falls = name == "most-praised"
        order = found["mean_rating"].to_numpy()
        assert np.all(np.diff(order) <= 0) if falls else np.all(np.diff(order) >= 0)
        truth = truth[truth["clothing_id"].isin(found["clothing_id"])]
    assert len(found) == len(truth)
    by = {"by": key, "ignore_index": True}
    found, truth = found.sort_values(**by), truth.sort_values(**by)
    truth = truth[list(found)].fillna(np.nan)
    rounded = {"rtol": 0, "atol": 0.051 if name == "lengths" else 0.00051}
    pd.testing.assert_frame_equal(found.fillna(np.nan), truth, check_dtype=False, **rounded)


@pytest.mark.parametrize("rows", [1, 10_000])
def test_one_row_and_ten_thousand_categories_are_answered(rows, tmp_path):
    made = [{CATEGORY: f"c{i}", RATING: 1 + i % 5} for i in range(rows)]
    reviews = write_reviews(tmp_path / "a", made)
    for name in QUERIES:
        found = rows_of(name, reviews, tmp_path)
        if name == "categories":
            assert len(found) == rows
