from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from components.features.retrieve import retrieve_training_set
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_store, versions_dir
from components.shared.machine.online_features import latest_feature_service, online_features

pytestmark = pytest.mark.usefixtures("store_dir")


def test_the_same_data_gives_the_same_file(build, make_prepared, tmp_path):
    prepared = make_prepared()
    service = build(prepared).feature_service
    one = retrieve_training_set(prepared, service, tmp_path / "one.parquet")
    two = retrieve_training_set(prepared, service, tmp_path / "two.parquet")
    assert one.sha256 == two.sha256
    assert one.as_of == datetime(2024, 1, 9, 7, tzinfo=UTC).isoformat()


def test_only_the_prepared_reviews_are_retrieved(build, make_prepared, tmp_path):
    prepared = make_prepared()
    service = build(prepared).feature_service
    some = tmp_path / "some.parquet"
    pq.write_table(pq.read_table(prepared).slice(50), some)
    assert retrieve_training_set(some, service, tmp_path / "set.parquet").rows == 10
    more = make_prepared(rows=61)
    with pytest.raises(UserError, match="lacks split of 1 of 61 reviews"):
        retrieve_training_set(more, service, tmp_path / "more.parquet")
    version = versions_dir() / service.removeprefix("sentiment_training_")
    (version / "review_tokens.parquet").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        retrieve_training_set(some, service, tmp_path / "gone.parquet")


def test_an_unknown_service_raises_an_error(make_prepared, tmp_path):
    with pytest.raises(UserError, match="feature service nope is not registered"):
        retrieve_training_set(make_prepared(), "nope", tmp_path / "set.parquet")
    with pytest.raises(UserError, match="feature service nope is not registered"):
        online_features(["a"], "nope")
    with pytest.raises(UserError, match="the feature store is empty"):
        latest_feature_service(open_store())
    assert online_features([], "nope") == []
