"""`make sql`: whose data a query is asked of, and what the terminal shows."""

import io
import os
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.catalogue import data_sets, register
from components.shared.machine.tracked_run import Training, training_run
from components.shared.machine.tracking import tracking_client
from pipelines.running.environment import PROJECT, local_environment
from pipelines.running.sql import main
from tests.data.conftest import write_reviews

OLD, NEW = "a" * 32, "b" * 32
COUNT = "SELECT count(*) AS n FROM reviews"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Old data, of which version 1 came, and new data, of which nothing did."""
    folder = tmp_path_factory.mktemp("sql") / "state"
    with pytest.MonkeyPatch.context() as patch:
        for name in local_environment(folder):
            patch.delenv(name, raising=False)
        for name, value in local_environment(folder).items():
            patch.setenv(name, value)
        patch.setenv("RUN_NAME", "2026-11-21-101010-000001")
        rows = [{"rating": 5}, {"rating": 1, "title": "\x1b[31mred"}, {"rating": 3}]
        register(write_reviews(folder / "old", rows), OLD, "old.csv")
        register(write_reviews(folder / "new", rows[:1]), NEW, "new.csv")
        facts = {"data_fingerprint": OLD, "feature_service": "sentiment_training_0123456789ab"}
        with training_run(Training("reviews", "k", {}, facts, ("reviews", OLD, 3))) as run:
            pass
        client = tracking_client()
        client.create_registered_model("review-sentiment")
        client.create_model_version("review-sentiment", "runs:/x", run.id, tags=facts)
        facts = {"data_fingerprint": "c" * 32}
        client.create_model_version("review-sentiment", "runs:/x", run.id, tags=facts)
        client.set_registered_model_alias("review-sentiment", "champion", "1")
        labels = folder / "feature_store" / "data" / "0123456789ab" / "review_labels.parquet"
        labels.parent.mkdir(parents=True)
        splits = {"review_id": ["id0", "id2"], "split": ["train", "test"], "copies": [1, 1]}
        splits["sentiment"] = [1, 0]
        pq.write_table(pa.table(splits), labels)
        folder.joinpath("run_id").write_text(run.id)
        folder.joinpath("first").write_text(data_sets()[0].ingested.isoformat())
    return folder


@pytest.fixture
def sql(state, monkeypatch, capsys):
    for name in (*local_environment(state), "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        code = 0
        try:
            main(["--state", str(state), *map(str, arguments)])
        except SystemExit as ended:
            code = ended.code
        # What `main` set is this test's alone.
        for name in local_environment(state):
            os.environ.pop(name, None)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def counted(answer):
    code, out, err = answer
    assert code == 0, err
    return int(out.split("├")[1].split("│")[1])


def test_a_query_is_asked_of_the_newest_data_or_of_those_that_are_named(sql, state):
    assert counted(sql("--query", COUNT)) == 1
    run_id, first = (state.joinpath(name).read_text() for name in ("run_id", "first"))
    for as_of in ("champion", "1", run_id, "2026-11-21-101010-000001", OLD, first):
        assert counted(sql("--query", COUNT, "--as-of", as_of)) == 3, as_of


def test_a_versions_reviews_have_their_splits(sql):
    trained_on = "SELECT count(*) AS n FROM reviews WHERE split = 'train' AND copies > 0"
    assert counted(sql("--query", trained_on, "--as-of", "champion")) == 1
    code, _, err = sql("--query", trained_on)
    assert (code, "ask with AS_OF=champion" in err) == (2, True)


@pytest.mark.parametrize(
    ("as_of", "words"),
    [
        ("7", "AS_OF=7 is no version of review-sentiment (it has 2, 1)"),
        ("2", f"the data of version 2 of review-sentiment (fingerprint {'c' * 32}) are not in the"),
        ("2020-01-01", "nothing was ingested before 2020-01-01 00:00:00 UTC; the first data came"),
        ("it's", "AS_OF=it's is no version"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(sql, as_of, words):
    code, _, err = sql("--query", COUNT, "--as-of", as_of)
    assert code == 2
    assert err.count("\n") == 1
    assert words in err


def test_without_a_catalogue_the_remedy_is_said_and_no_folder_made(sql, tmp_path):
    code, _, err = sql("--state", tmp_path / "none", "--query", COUNT)
    assert code == 2
    assert "there is no catalogue in" in err
    assert "`make run STATE=" in err
    assert not (tmp_path / "none").exists()


def test_an_answer_is_shown_without_what_would_colour_the_terminal(sql):
    _, out, _ = sql("--query", "SELECT title FROM reviews ORDER BY rating", "--as-of", "1")
    assert "\x1b" not in out
    assert r"\e[31mred" in out
    assert out.endswith("3 rows\n")


def test_rows_beyond_the_limit_are_said(sql):
    _, out, _ = sql("--query", "SELECT * FROM range(1000000)", "--rows", 5)
    assert out.endswith("the first 5 rows; there are more: ROWS= takes a limit, OUT= a file\n")


def test_named_queries_are_listed_and_run_by_name_and_saved(sql, tmp_path):
    _, out, _ = sql("--query", "list")
    assert "most-praised             The 20 products" in out
    code, out, _ = sql("--query", "sentiments", "--out", tmp_path / "x.csv", "--as-of", "1")
    assert (code, out) == (0, f"{tmp_path}/x.csv: 3 rows\n")
    assert (tmp_path / "x.csv").read_text().startswith('"sentiment","reviews"')
    code, _, err = sql("--query", "sentimets")
    assert (code, "there is no query called sentimets; `list` names" in err) == (2, True)
    code, _, err = sql("--out", tmp_path / "x.csv")
    assert (code, "give one with QUERY=" in err) == (2, True)


def test_the_prompt_goes_on_after_an_error(sql, monkeypatch):
    typed = "list\nSELECT nothing\nFROM reviews;\nSELECT 40 + 2 AS it\n\n;\nsentiments\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code, out, _ = sql("--as-of", "champion")
    assert code == 0
    assert "the data of version 1 of review-sentiment: 3 reviews of old.csv" in out
    assert 'error: Referenced column "nothing" not found' in out
    assert "42" in out
    assert "mean_rating" in out


@pytest.mark.parametrize("engine", ["athena", "hive", "spark", "trino"])
def test_the_ddl_is_that_of_the_engine(sql, state, engine):
    import sqlglot

    _, out, _ = sql("--ddl", engine, "--as-of", "champion")
    assert f"aws s3 sync '{state}/warehouse/reviews/data/{OLD}/'" in out
    create, find = sqlglot.parse(out.replace("MSCK", "-- MSCK"), dialect=engine)[:2]
    columns = {column.name for column in create.find_all(sqlglot.exp.ColumnDef)}
    assert columns >= {"review_id", "event_timestamp"}
    assert ("sync_partition_metadata" in str(find)) == (engine == "trino")
    assert "LOCATION 's3://mine/x/'" in sql("--ddl", "athena", "--location", "s3://mine/x")[1]


def test_make_hands_over_a_query_as_it_is_written():
    query = """SELECT '$1 "x"' AS "it's" FROM reviews WHERE title = 'a' -- `b` $(c)"""
    make = ["make", "-s", "-o", ".venv/.installed", "sql", f"QUERY={query}", "BIN=/bin/false;"]
    shown = ["SQL=printenv SQL_QUERY; true"]
    said = subprocess.run([*make, *shown], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert said.stdout == f"{query}\n"
