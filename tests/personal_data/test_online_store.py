"""The online store in Feast's own form: what is deleted is no longer answered."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from components.personal_data.databases import delete_rows, rows_in
from components.personal_data.wanted import Wanted


@pytest.mark.slow
def test_feast_answers_no_more_what_was_deleted(tmp_path):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import String

    about = {"review_id": ["r1", "r2"], "body": ["of the first", "of the second"]}
    rows = pd.DataFrame(about | {"event_timestamp": [datetime(2026, 11, 21, tzinfo=UTC)] * 2})
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
    review = Entity(name="review_id", value_type=ValueType.STRING)
    source = FileSource(path=str(tmp_path / "rows.parquet"), timestamp_field="event_timestamp")
    view = FeatureView(
        name="view",
        entities=[review],
        schema=[Field(name="review_id", dtype=String), Field(name="body", dtype=String)],
        source=source,
    )
    store.apply([review, view])
    store.write_to_online_store("view", rows)

    def answered():
        keys = [{"review_id": one} for one in about["review_id"]]
        return store.get_online_features(["view:body"], keys).to_dict()["body"]

    assert answered() == about["body"]
    wanted = Wanted.of("r1", [(None, "of the first")])
    assert rows_in(database, wanted) == 1
    assert delete_rows(database, wanted) == 1
    assert answered() == [None, "of the second"]
    assert rows_in(database, wanted) == 0
    assert b"of the first" not in database.read_bytes()
