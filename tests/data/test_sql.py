"""What a query may do: read the reviews, within its limits, and nothing else."""

import json
import time

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from components.data import query_process
from components.data.query_process import Request
from components.data.sql import Limits, Tables, ask, save
from components.shared.machine.errors import UserError
from tests.data.conftest import write_reviews

ROWS = [{"rating": 5, "sentiment": 1, "title": 'it\'s; a "title"'}, {"rating": 1, "sentiment": -1}]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("it's a [folder]*")
    return Tables.of([str(write_reviews(folder / "reviews.parquet", ROWS))], "sentiments")


@pytest.fixture
def quickly(tables, tmp_path):
    """Ask within this process, which the tests of what is refused may do."""

    overflow = tmp_path / "overflow"
    overflow.mkdir()

    def run(query):
        files = (tables.views, tables.files)
        reader = query_process.answer(Request(query, *files, 100, "1GB", str(overflow)))
        return reader.read_all().to_pylist()

    return run


def test_the_views_are_the_reviews_and_the_classes(quickly):
    assert quickly(
        "SELECT rating, class FROM reviews JOIN classes USING (sentiment) ORDER BY 1 DESC"
    ) == [
        {"rating": 5, "class": "positive"},
        {"rating": 1, "class": "negative"},
    ]
    assert [row["name"] for row in quickly("SHOW TABLES")] == ["classes", "reviews"]


def test_a_damaged_file_is_named_with_the_remedy(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(
        UserError, match=r"a\.parquet.*; remove the folder of these data and ingest"
    ):
        ask("SELECT 1", Tables.of([str(tmp_path / "a.parquet")], "sentiments"))


def test_a_versions_reviews_have_its_splits_and_labels(tmp_path):
    split = {"review_id": ["id1"], "split": ["train"], "copies": [2], "sentiment": [0]}
    split |= {"label_source": ["weak"], "title": ["cleaned"]}
    pq.write_table(pa.table(split), tmp_path / "labels")
    reviews = str(write_reviews(tmp_path / "a", [{"sentiment": 1}, {"title": "as given"}]))
    tables = Tables.of([reviews], "sentiments", tmp_path / "labels")
    query = "SELECT * EXCLUDE (review_body, event_timestamp) FROM reviews ORDER BY review_id"
    found = ask(query, tables).table.to_pylist()
    known = [{name: value for name, value in row.items() if value is not None} for row in found]
    assert known == [
        {"review_id": "id0", "sentiment": 1},
        {"review_id": "id1", "sentiment": 0, "title": "as given"}
        | {"split": "train", "copies": 2, "label_source": "weak"},
    ]


@pytest.mark.parametrize(
    "query",
    [
        *("COPY (SELECT 1) TO '{there}/x.csv'", "EXPORT DATABASE '{there}/x'"),
        *("ATTACH '{there}/x.db'", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '9GB'"),
        *("CREATE TABLE t AS SELECT 1", "DROP VIEW reviews", "INSERT INTO classes VALUES (2, 'x')"),
        *("PRAGMA version", "CALL pragma_version()", "EXPLAIN ANALYZE SELECT 1", "PREPARE p AS"),
        *("SELECT 1; SELECT 2", "", " ; ", "-- nothing"),
        "COPY (SELECT 1) TO '{overflow}/x.csv'",
        "WITH t AS (INSERT INTO classes VALUES (3, 'x') RETURNING *) FROM t",
    ],
)
def test_nothing_but_one_select_runs(quickly, tmp_path, query):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError):
        quickly(query.format(there=tmp_path, overflow=tmp_path / "overflow"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "source",
    [
        *("read_csv('/etc/passwd')", "read_text('/etc/passwd')", "read_blob('/etc/*')"),
        *("glob('/etc/*')", "sniff_csv('/etc/passwd')", "'/etc/passwd'", "'{beside}'"),
        *("read_parquet('{beside}')", "read_parquet('https://example.org/x.parquet')"),
        *("read_json('s3://bucket/x')", "duckdb_secrets()", "(SELECT getenv('HOME'))"),
        "in_this_process",
    ],
)
def test_nothing_but_the_views_can_be_read(quickly, tmp_path, monkeypatch, source):
    frame = pd.DataFrame({"secret": [1]})
    monkeypatch.setattr(query_process, "in_this_process", frame, raising=False)
    beside = write_reviews(tmp_path / "beside.parquet", ROWS)
    with pytest.raises(UserError):
        quickly(f"SELECT * FROM {source.format(beside=beside)}")


@pytest.mark.parametrize(
    "query",
    [
        # DuckDB looks for an interruption between its steps: neither of these has any.
        "SELECT length(repeat('x', 4000000000))",
        "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r) SELECT max(x) FROM r",
    ],
)
def test_a_query_that_does_not_end_is_ended(tables, query):
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"took more than 2 s and was stopped|more memory than"):
        ask(query, tables, Limits(seconds=2))
    assert time.monotonic() - begun < 20


def test_a_query_that_needs_too_much_memory_is_one_sentence(tables):
    with pytest.raises(UserError, match="the query needs more memory than it may take"):
        ask("SELECT list_sum(range(2000000000))", tables)


def test_of_many_rows_only_some_come_and_the_answer_says_so(tables):
    query = "SELECT * FROM range(1000000000)"
    some = ask(query, tables, Limits(rows=7))
    assert (some.table["range"].to_pylist(), some.more) == (list(range(7)), True)
    assert ask("SELECT * FROM range(7)", tables, Limits(rows=7)).more is False


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_an_answer_is_saved_in_the_format_of_its_name(tables, tmp_path, ending):
    query = "SELECT range AS n, 'é\"' AS said, CAST('nan' AS DOUBLE) AS none FROM range(25000)"
    target = tmp_path / f"answer.{ending}"
    assert save(query, tables, target, Limits(rows=12_000)) == (12_000, True)
    if ending == "json":
        rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        assert rows[0]["none"] is None
    else:
        read = pq.read_table if ending == "parquet" else pyarrow.csv.read_csv
        rows = read(target).to_pylist()
    assert [row["n"] for row in rows] == list(range(12_000))
    assert rows[3]["said"] == 'é"'


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_what_a_format_cannot_hold_is_one_sentence(tables, tmp_path, ending):
    target = tmp_path / f"answer.{ending}"
    many = (
        "SELECT [1, NULL] AS several, sum(range) AS total, DATE '2024-01-02' AS day FROM range(9)"
    )
    strange = "SELECT INTERVAL 1 DAY AS wait, {'a': 'nan' :: DOUBLE} AS pair, 'x' :: BLOB AS bytes"
    for query in (many, strange):
        try:
            save(query, tables, target, Limits())
        except UserError as error:
            assert "cast it to VARCHAR" in str(error)  # noqa: PT017
            assert ending != "json"
        else:
            assert target.exists()
    if ending == "json":
        save(many, tables, target, Limits())
        said = json.loads(target.read_text())
        assert said == {"several": [1, None], "total": 36, "day": "2024-01-02"}


def test_a_query_that_fails_leaves_the_file_of_before(tables, tmp_path):
    target = tmp_path / "answer.csv"
    target.write_text("before")
    with pytest.raises(UserError, match="nowhere"):
        save("SELECT * FROM nowhere", tables, target, Limits())
    with pytest.raises(UserError, match=r"answer\.xlsx ends in none of \.csv, \.parquet"):
        save("SELECT 1", tables, tmp_path / "answer.xlsx", Limits())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_the_column_of_the_splits_is_said_to_belong_to_versions(quickly):
    with pytest.raises(UserError, match="splits belong to a version: ask with AS_OF=champion"):
        quickly("SELECT split FROM reviews")


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"rows": 0}, {"seconds": float("nan")}])
def test_limits_are_bounds(wrong):
    with pytest.raises(UserError):
        Limits(**wrong)
