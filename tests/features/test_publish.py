import os
import sqlite3

import pyarrow.parquet as pq
import pytest

from components.features import publish
from components.features.retrieve import retrieve_training_set
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_store, store_dir, versions_dir
from components.shared.machine.files import read_json, sha256_of_file
from components.shared.machine.online_features import latest_feature_service, online_features
from components.shared.records.reviews import TRAINING_SET_SCHEMA

pytestmark = pytest.mark.usefixtures("store_dir")


def test_offline_and_online_features_equal_the_prepared_data(build, make_prepared, tmp_path):
    prepared = make_prepared(rows=90)
    summary = build(prepared)
    assert read_json(tmp_path / "summary.json")["rows"] == summary.rows == 90
    assert summary.truncated > 0
    assert not summary.reused
    assert summary.checked_online >= 20
    retrieved = retrieve_training_set(prepared, summary.feature_service, tmp_path / "set.parquet")
    table = pq.ParquetFile(tmp_path / "set.parquet").read()
    assert table.schema.equals(TRAINING_SET_SCHEMA)
    assert retrieved.rows == 90
    assert retrieved.sha256 == sha256_of_file(tmp_path / "set.parquet")
    assert sum(retrieved.rows_per_split.values()) == 90
    tokens, reviews = (
        {row["review_id"]: row for row in pq.read_table(path).to_pylist()}
        for path in (tmp_path / "features.parquet", prepared)
    )
    rows = table.to_pylist()
    assert [row["review_id"] for row in rows] == sorted(reviews)
    for row in rows:
        known = reviews[row["review_id"]] | tokens[row["review_id"]] | {"weight": 1.0}
        assert row == {name: known[name] for name in row}
    for row in rows:
        del row["weight"]
    assert online_features([*sorted(reviews), "unknown"], summary.feature_service) == [*rows, None]


def test_a_store_works_from_another_folder(build, make_prepared, tmp_path, monkeypatch):
    prepared, other = make_prepared(seed=1), make_prepared(seed=2)
    service = build(prepared).feature_service
    store_dir().rename(tmp_path / "moved")
    monkeypatch.setenv("FEATURE_STORE_DIR", str(tmp_path / "moved"))
    assert online_features(["r00000"], service)[0]["review_id"] == "r00000"
    again = build(prepared)
    assert (again.reused, again.materialise_seconds) == (True, 0)
    retrieve_training_set(prepared, service, tmp_path / "set.parquet")
    assert not build(other).reused


@pytest.mark.parametrize("name", ["registry.db", "online.db"])
def test_a_damaged_database_is_named(build, make_prepared, name):
    prepared = make_prepared()
    build(prepared)
    (store_dir() / name).write_bytes(b"not a database " * 300)
    with pytest.raises(UserError, match=rf"{name} cannot be used .file is not a database"):
        build(prepared)


def test_a_second_run_reuses_the_version(build, make_prepared, tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("another file system")

    prepared = make_prepared()
    first = build(prepared)
    before = sha256_of_file(tmp_path / "features.parquet")
    for _ in range(2):
        second = build(prepared)
        assert (second.reused, second.materialise_seconds) == (True, 0)
        assert second.feature_service == first.feature_service
        assert sha256_of_file(tmp_path / "features.parquet") == before
        monkeypatch.setattr(os, "link", no_links)


def test_other_data_or_limits_make_other_versions(build, make_prepared, tmp_path):
    prepared, other = make_prepared(seed=1), make_prepared(seed=2)
    made = build(prepared), build(other), build(prepared, 8), build(prepared, fingerprint="data-2")
    names = [summary.feature_service for summary in made]
    assert {service.name for service in open_store().list_feature_services()} == set(names)
    assert len(set(names)) == 4
    assert latest_feature_service(open_store()) == names[-1]
    # The first version still reads its own rows.
    retrieve_training_set(prepared, names[0], tmp_path / "set.parquet")
    assert max(pq.read_table(tmp_path / "set.parquet")["n_tokens"].to_pylist()) == 24
    # And the data of one version is refused under the name of another.
    with pytest.raises(UserError, match="made from other data"):
        retrieve_training_set(prepared, names[1], tmp_path / "other.parquet")
    assert not (tmp_path / "other.parquet").exists()


@pytest.mark.parametrize(
    "victim", ["_write_labels", "tokenise_reviews", "apply_objects", "materialize", "_link_or_copy"]
)
def test_the_next_run_completes_one_that_died(victim, build, make_prepared, tmp_path, monkeypatch):
    prepared = make_prepared()

    def die(*_, **__):
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        if victim == "materialize":
            # Dies half-way: one view is copied, the other is left in the state "materialising".
            from feast.infra.online_stores.sqlite import SqliteOnlineStore

            write = SqliteOnlineStore.online_write_batch

            def write_once(*args, **named):
                patched.setattr(SqliteOnlineStore, "online_write_batch", die)
                write(*args, **named)

            patched.setattr(SqliteOnlineStore, "online_write_batch", write_once)
        else:
            patched.setattr(publish, victim, die)
        with pytest.raises(SystemExit):
            build(prepared)
    assert not {"features.parquet", "summary.json"} & {path.name for path in tmp_path.iterdir()}
    summary = build(prepared)
    retrieved = retrieve_training_set(prepared, summary.feature_service, tmp_path / "set.parquet")
    assert retrieved.rows == summary.rows
    assert [path.name for path in versions_dir().glob("*") if path.is_dir()] == [summary.version]


def test_what_was_lost_is_made_again(build, make_prepared, store_dir):
    prepared = make_prepared()
    version = build(prepared).version
    (leftover := versions_dir() / f".{version}.abc").mkdir()
    (versions_dir() / version / "review_tokens.parquet").write_bytes(b"half")
    assert not build(prepared).reused
    assert not leftover.exists()
    with sqlite3.connect(store_dir / "online.db") as online:
        online.execute(f'DELETE FROM "review_sentiment_review_tokens_{version}"')
    assert build(prepared).materialise_seconds > 0


def test_bad_prepared_files_raise_an_error(build, make_prepared, tmp_path):
    first = build(make_prepared(seed=1)).feature_service
    lacking = tmp_path / "lacking.parquet"
    pq.write_table(pq.read_table(make_prepared()).drop_columns(["split"]), lacking)
    for path, words in (
        (tmp_path / "none.parquet", "does not exist"),
        (make_prepared(rows=0), "holds no reviews"),
        (lacking, "has no column split"),
        (make_prepared(rows=9, sentiment=[None] * 9), "rows without sentiment"),
        (make_prepared(seed=3, review_id=["same"] * 60), "has review_id same twice"),
    ):
        with pytest.raises(UserError, match=words):
            build(path)
    assert [service.name for service in open_store().list_feature_services()] == [first]
