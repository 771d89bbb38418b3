"""Each ingest is a snapshot of exactly its own rows, however often, beside whom and wherever."""

import multiprocessing
import shutil
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data import catalogue as tested
from components.data import warehouse
from components.data.catalogue import data_sets, files_of, register
from components.data.warehouse import lay_out
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_parquet
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.reviews import REVIEW_SCHEMA
from tests.data.conftest import name_catalogue, write_reviews

MONTHS = [datetime(2024, month, 5, tzinfo=UTC) for month in (5, 3, 4, 3)]
DATED = [{"event_timestamp": time, "rating": 4} for time in MONTHS]


def ids_in(data):
    return {
        row["review_id"]
        for file in files_of(data)
        for row in pq.ParquetFile(file).read().to_pylist()
    }


def test_a_snapshot_holds_the_rows_of_its_ingest_and_no_others(catalogue, tmp_path):
    first = register(write_reviews(tmp_path / "a", [{}, {}]), "aa", "a.csv")
    second = register(write_reviews(tmp_path / "b", [{"review_id": "other"}]), "bb", "b.csv")
    assert [(one.fingerprint, one.rows, one.source) for one in data_sets()] == [
        ("aa", 2, "a.csv"),
        ("bb", 1, "b.csv"),
    ]
    assert ids_in(first) == {"id0", "id1"}
    assert ids_in(second) == {"other"}
    assert first.ingested < second.ingested


def test_equal_data_make_no_second_snapshot_and_become_the_newest_again(catalogue, tmp_path):
    reviews = write_reviews(tmp_path / "a", [{}])
    first = register(reviews, "aa", "a.csv")
    assert register(reviews, "aa", "a.csv") == first
    register(write_reviews(tmp_path / "b", [{}, {}]), "bb", "b.csv")
    again = register(reviews, "aa", "a.csv")
    assert again.snapshot_id == first.snapshot_id
    assert [one.fingerprint for one in data_sets()] == ["aa", "bb", "aa"]


def test_the_files_are_laid_out_by_month_and_sorted_by_category(tmp_path):
    rows = [row | {"product_category": c} for row, c in zip(DATED, "zyxw", strict=True)]
    labels = LabelSet.parse("bad=1 good=4")
    lay_out(write_reviews(tmp_path / "a", rows, labels), tmp_path / "laid out")
    files = sorted((tmp_path / "laid out").rglob("*.parquet"))
    assert [file.parent.name for file in files] == [f"month=2024-0{m}" for m in (3, 4, 5)]
    march = pq.ParquetFile(files[0]).read()
    assert march["product_category"].to_pylist() == ["w", "y"]
    assert march.schema.equals(REVIEW_SCHEMA)
    assert labels_of_file(files[0]) == labels
    everything = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    written = pq.read_table(tmp_path / "a").to_pylist()
    by_id = lambda row: row["review_id"]  # noqa: E731
    assert sorted(everything, key=by_id) == sorted(written, key=by_id)


def test_a_release_with_more_columns_goes_on_with_the_catalogue(catalogue, tmp_path, monkeypatch):
    before = register(write_reviews(tmp_path / "a", [{}]), "aa", "a.csv")
    more = REVIEW_SCHEMA.append(pa.field("country", pa.string()))
    for module in (tested, warehouse):
        monkeypatch.setattr(module, "REVIEW_SCHEMA", more)
    table = pq.read_table(tmp_path / "a").append_column("country", pa.array(["FR"]))
    write_parquet(tmp_path / "b", table)
    (after,) = files_of(register(tmp_path / "b", "bb", "b.csv"))
    assert pq.ParquetFile(after).read()["country"].to_pylist() == ["FR"]
    assert ids_in(before) == {"id0"}


def test_the_label_set_is_recorded(catalogue, tmp_path):
    labels = LabelSet.parse("bad=1 good=4")
    register(write_reviews(tmp_path / "a", DATED, labels), "aa", "a.csv")
    assert LabelSet.parse(data_sets()[0].labels) == labels


def test_other_engines_find_month_partitions_and_a_branch_for_each_fingerprint(catalogue, tmp_path):
    from pyiceberg.catalog.sql import SqlCatalog

    register(write_reviews(tmp_path / "a", DATED), "aa", "a.csv")
    register(write_reviews(tmp_path / "b", [{}]), "bb", "b.csv")
    opened = SqlCatalog("reviews", uri=f"sqlite:///{catalogue}/catalogue.db", warehouse="")
    table = opened.load_table("sentiment.reviews")
    assert table.scan().to_arrow().num_rows == 1
    in_may = table.scan(
        "event_timestamp >= '2024-05-01T00:00:00+00:00'",
        snapshot_id=table.snapshot_by_name("aa").snapshot_id,
    )
    assert [task.file.record_count for task in in_may.plan_files()] == [1]
    assert table.snapshot_by_name("aa").summary["data_fingerprint"] == "aa"


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_state_folder_may_be_moved_or_copied(catalogue, tmp_path, monkeypatch, move):
    register(write_reviews(tmp_path / "a", DATED), "aa", "a.csv")
    register(write_reviews(tmp_path / "b", [{}]), "bb", "b.csv")
    before = data_sets()
    state = tmp_path / "an other [state]"
    move(catalogue.parent, state)
    name_catalogue(monkeypatch, state / "warehouse")
    after = data_sets()
    assert [(d.snapshot_id, d.ingested) for d in after] == [
        (d.snapshot_id, d.ingested) for d in before
    ]
    assert all(file.startswith(str(state)) for file in files_of(after[0]))
    assert ids_in(after[0]) == {"id0", "id1", "id2", "id3"}
    register(write_reviews(tmp_path / "c", [{"review_id": "later"}]), "cc", "c.csv")
    assert ids_in(data_sets()[-1]) == {"later"}
    if move is shutil.copytree:
        name_catalogue(monkeypatch, catalogue)
        assert data_sets() == before


def test_a_warehouse_elsewhere_than_the_table_is_one_sentence(catalogue, tmp_path, monkeypatch):
    register(write_reviews(tmp_path / "a", [{}]), "aa", "a.csv")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CATALOGUE_WAREHOUSE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"lies in .*warehouse/reviews and not in .*empty/reviews"):
        data_sets()


@pytest.mark.parametrize("where", ["lay_out", "files_in", "_data_sets"])
def test_killed_anywhere_a_data_set_is_there_whole_or_not_at_all(
    catalogue, tmp_path, monkeypatch, where
):
    reviews = write_reviews(tmp_path / "a", DATED)
    register(write_reviews(tmp_path / "b", [{}]), "bb", "b.csv")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tested, where, killed)
        with pytest.raises(KeyboardInterrupt):
            register(reviews, "aa", "a.csv")
    found = data_sets()
    assert [one.rows for one in found] in ([1], [1, 4])
    draft = catalogue / "reviews" / "data" / ".aa.killed"
    draft.mkdir()
    assert ids_in(register(reviews, "aa", "a.csv")) == {f"id{i}" for i in range(4)}
    assert not draft.exists()


def _register(number, folder):
    register(folder / str(number % 2), f"fingerprint{number % 2}", "x.csv")


def test_ingests_at_once_all_end_right(catalogue, tmp_path):
    for number in range(2):
        write_reviews(tmp_path / str(number), [{"review_id": f"of {number}"}])
    context = multiprocessing.get_context("spawn")
    side_by_side = [context.Process(target=_register, args=(n, tmp_path)) for n in range(3)]
    for process in side_by_side:
        process.start()
    for process in side_by_side:
        process.join()
    assert [process.exitcode for process in side_by_side] == [0, 0, 0]
    found = {one.fingerprint: ids_in(one) for one in data_sets()}
    assert found == {"fingerprint0": {"of 0"}, "fingerprint1": {"of 1"}}


def test_without_a_catalogue_nothing_is_registered_and_asking_says_the_remedy(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("CATALOGUE_URI", raising=False)
    assert register(write_reviews(tmp_path / "a", [{}]), "aa", "a.csv") is None
    with pytest.raises(UserError, match=r"CATALOGUE_URI is not set.*`make run` makes one"):
        data_sets()
    name_catalogue(monkeypatch, tmp_path / "nothing")
    with pytest.raises(
        UserError, match=r"there is no catalogue in .*nothing; `make run` makes one"
    ):
        data_sets()
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="holds no data set; `make run` makes one"):
        data_sets()


def test_a_database_that_cannot_be_reached_is_one_sentence(catalogue, tmp_path, monkeypatch):
    monkeypatch.setenv("CATALOGUE_URI", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(
        UserError, match=r"database of the catalogue cannot be used .*CATALOGUE_URI"
    ):
        register(write_reviews(tmp_path / "a", [{}]), "aa", "a.csv")


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_text("{")])
def test_metadata_that_cannot_be_read_are_one_sentence(catalogue, tmp_path, damage):
    register(write_reviews(tmp_path / "a", [{}]), "aa", "a.csv")
    for file in (catalogue / "reviews" / "metadata").glob("*.json"):
        damage(file)
    with pytest.raises(
        UserError, match=r"cannot be read .*restore the folder from a copy, or move"
    ):
        data_sets()


def test_a_file_that_is_missing_is_named_with_the_remedy(catalogue, tmp_path):
    made = register(write_reviews(tmp_path / "a", [{}]), "aa", "a.csv")
    shutil.rmtree(made.folder)
    with pytest.raises(UserError, match=r"reviews\.parquet is missing.*ingest the same data again"):
        files_of(made)
    register(tmp_path / "a", "aa", "a.csv")
    assert ids_in(made) == {"id0"}
