"""The online store in Feast's own form: what is deleted is no longer answered."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from components.personal_data.databases import delete_rows, rows_in
from components.personal_data.wanted import Wanted
from tests.features.test_postgres import CONFIG, INITDB, REASON, postgres  # noqa: F401

TIME = "event_timestamp"
ABOUT = {"review_id": ["r1", "r2"], "body": ["of the first", "of the second"]}


def frame():
    return pd.DataFrame(ABOUT | {TIME: [datetime(2026, 11, 21, tzinfo=UTC)] * 2})


def objects(source):
    """A view of the bodies, with its entity."""
    from feast import Entity, FeatureView, Field, ValueType
    from feast.types import String

    review = Entity(name="review_id", value_type=ValueType.STRING)
    fields = [Field(name=name, dtype=String) for name in ABOUT]
    return [review, FeatureView(name="view", entities=[review], schema=fields, source=source)]


@pytest.mark.slow
def test_feast_answers_no_more_what_was_deleted(tmp_path):
    from feast import FeatureStore, FileSource, RepoConfig

    rows = frame()
    rows.to_parquet(tmp_path / "rows.parquet")
    database = tmp_path / "online.db"
    store = FeatureStore(
        config=RepoConfig(
            project="p",
            provider="local",
            registry=str(tmp_path / "registry.db"),
            online_store={"type": "sqlite", "path": str(database)},
            entity_key_serialization_version=3,
        )
    )
    source = FileSource(path=str(tmp_path / "rows.parquet"), timestamp_field=TIME)
    store.apply(objects(source))
    store.write_to_online_store("view", rows)

    def answered():
        keys = [{"review_id": one} for one in ABOUT["review_id"]]
        return store.get_online_features(["view:body"], keys).to_dict()["body"]

    assert answered() == ABOUT["body"]
    wanted = Wanted.of("r1", [(None, "of the first")])
    assert rows_in(database, wanted) == 1
    assert delete_rows(database, wanted) == 1
    assert answered() == [None, "of the second"]
    assert rows_in(database, wanted) == 0
    assert b"of the first" not in database.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(INITDB is None, reason=REASON)
def test_the_rows_of_a_review_leave_postgres(postgres, monkeypatch, tmp_path):  # noqa: F811
    from feast import FileSource

    from components.personal_data.online_store import online_store
    from components.shared.machine.feature_store import open_store

    monkeypatch.setenv("FEATURE_STORE_DIR", str(tmp_path))
    assert online_store() is None  # There is no store yet.
    for name, value in postgres.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FEATURE_STORE_CONFIG", str(CONFIG))
    (tmp_path / "data").mkdir()
    rows = frame()
    rows.to_parquet(tmp_path / "rows.parquet")
    store = open_store()
    store.apply(objects(FileSource(path=f"{tmp_path}/rows.parquet", timestamp_field=TIME)))
    store.write_to_online_store("view", rows)
    ours = online_store()
    assert ours.count(frozenset(["r1"])) == 1
    assert ours.delete(frozenset(["r1", "nobody"])) == 1
    assert [ours.count(frozenset([one])) for one in ("r1", "r2")] == [0, 1]
