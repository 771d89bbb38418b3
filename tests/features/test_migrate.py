"""The layout of release 1: a folder, two views and a service for each data set, named by a hash."""

import json
import os
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from components.features import migrate as migration
from components.features.__main__ import main
from components.features.migrate import migrate
from components.features.retrieve import retrieve_training_set
from components.features.tokenise import ReviewTokenizer, tokenise_reviews
from components.features.views import SPINE_COLUMNS, files_of
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import data_dir, open_store, training_sets_dir
from components.shared.machine.online_features import online_features

pytestmark = pytest.mark.usefixtures("store_dir")

OLD, NEW = "0123456789ab", "ab0123456789"
LABELS = [
    *("review_id", "event_timestamp", "title", "review_body", "split", "product_category"),
    *("sentiment", "rating", "copies", "label_source", "label_probability"),
]


def register_as_before(version, folder):
    """Feast's objects of one version, copied to the online store, as release 1 made them."""
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Array, Int32, String

    entity = Entity(name="review", join_keys=["review_id"], value_type=ValueType.STRING)
    views = []
    for kind, features in (
        ("labels", {"sentiment": Int32}),
        ("tokens", {"input_ids": Array(Int32), "n_tokens": Int32}),
    ):
        name = f"review_{kind}_{version}"
        source = FileSource(
            name=f"{name}_source",
            path=str(folder / f"review_{kind}.parquet"),
            timestamp_field="event_timestamp",
            file_format=ParquetFormat(),
        )
        fields = {"review_id": String, **features}
        schema = [Field(name=field, dtype=dtype) for field, dtype in fields.items()]
        ttl = timedelta(0)
        views.append(
            FeatureView(name=name, entities=[entity], ttl=ttl, schema=schema, source=source)
        )
    service = FeatureService(name=f"sentiment_training_{version}", features=views)
    store = open_store()
    store.apply([entity, *views, service])
    days = datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    store.materialize(*days, feature_views=[view.name for view in views])


@pytest.fixture
def rated(make_prepared, changed):
    """Prepared reviews whose stars say what their labels do, as in real data."""

    def make(seed=0):
        stars = {"rating": lambda row: 3 + 2 * row["sentiment"], "label_source": lambda _: "rating"}
        stars["label_probability"] = lambda _: 1.0
        return changed(make_prepared(seed=seed), f"rated-{seed}", **stars)

    return make


@pytest.fixture
def publish_as_before(tiny_bert):
    def run(prepared, version, day, columns=LABELS):
        folder = data_dir() / version
        folder.mkdir(parents=True)
        pq.write_table(pq.read_table(prepared, columns=columns), folder / "review_labels.parquet")
        tokenizer = ReviewTokenizer(str(tiny_bert), 24)
        tokenise_reviews(prepared, tokenizer, folder / "review_tokens.parquet")
        tags = {"tokenizer_fingerprint": tokenizer.fingerprint, "base_model": str(tiny_bert)}
        tags |= {"max_tokens": "24", "vocab_size": str(tokenizer.vocab_size)}
        (folder / "version.json").write_text(json.dumps({"tags": tags}))
        time = datetime(2024, 3, day, tzinfo=UTC).timestamp()
        os.utime(folder / "version.json", (time, time))
        register_as_before(version, folder)

    return run


def test_what_was_published_is_found_under_the_stable_names_and_under_the_former_ones(
    publish_as_before, rated, changed, build, tmp_path, capsys
):
    old = rated()
    newer = changed(old, "newer", review_id=lambda row: row["review_id"].replace("r0000", "n"))
    publish_as_before(newer, NEW, day=9, columns=LABELS[:-2])
    publish_as_before(old, OLD, day=2)
    looked_up = online_features(["r00003"], f"sentiment_training_{OLD}")
    main(["migrate"])
    assert capsys.readouterr().out.splitlines()[-1] == f"moved {OLD}, {NEW}"
    main(["migrate"])
    assert capsys.readouterr().out == "there is nothing to move\n"

    store = open_store()
    names = {view.name for view in store.list_feature_views()}
    (tokens,) = names - {"review_text", "review_labels"}
    service = tokens.replace("review_tokens", "sentiment_training")
    former = [f"sentiment_training_{version}" for version in (OLD, NEW)]
    services = {one.name for one in store.list_feature_services()}
    assert services == {*former, service, "sentiment_training"}
    assert len(store.list_data_sources()) == 3
    assert not list(data_dir().glob("*/version.json"))
    assert not (data_dir() / OLD).exists()
    for name in ("review_text", "review_labels", tokens):
        assert sum(pq.read_metadata(file).num_rows for file in files_of(name)) == 70
    for name in former:
        (found,) = online_features(["r00003"], name)
        assert found == found | looked_up[0]
    # The data are there: a run of them adds nothing, and an old training set is made again.
    assert build(old).reused
    for number, prepared in enumerate((old, newer)):
        done = retrieve_training_set(prepared, former[number], tmp_path / "set.parquet")
        assert done.rows == 60
    assert store.list_feature_services()
    spine = pq.read_table(training_sets_dir() / f"{OLD}.parquet").to_pylist()
    expected = pq.read_table(old, columns=list(SPINE_COLUMNS)).to_pylist()
    assert spine == expected


def test_the_next_migration_goes_on_where_one_died(publish_as_before, rated, monkeypatch, tmp_path):
    publish_as_before(rated(seed=1), OLD, day=2)
    publish_as_before(rated(seed=2), NEW, day=3)

    def die(*_, **__):
        raise SystemExit(9)

    # After each file of each version, before the registry and the online store, before the end.
    for name in (
        "add_texts",
        "add_labels",
        "_add_tokens",
        "write_json",
        "_register",
        "copy_online",
    ):
        with monkeypatch.context() as patched:
            patched.setattr(migration, name, die)
            with pytest.raises(SystemExit):
                migrate()
    with monkeypatch.context() as patched:
        patched.setattr(migration.shutil, "rmtree", die)
        with pytest.raises(SystemExit):
            migrate()
    assert migrate() == [OLD, NEW]
    texts = [pq.read_metadata(file).num_rows for file in files_of("review_text")]
    assert texts == [60, 60]
    one = retrieve_training_set(
        rated(seed=1), f"sentiment_training_{OLD}", tmp_path / "set.parquet"
    )
    assert one.rows == 60


def test_labels_whose_classes_nobody_wrote_down_are_left_to_the_next_run(
    publish_as_before, make_prepared, changed, caplog
):
    two = changed(make_prepared(), "two", sentiment=lambda row: row["sentiment"] % 2)
    publish_as_before(two, OLD, day=2)
    assert migrate() == [OLD]
    assert f"the classes of version {OLD} are not known" in caplog.text
    assert not files_of("review_labels")
    assert len(files_of("review_text")) == 1


def test_a_version_without_its_files_is_named(publish_as_before, make_prepared):
    publish_as_before(make_prepared(), OLD, day=2)
    (data_dir() / OLD / "review_tokens.parquet").unlink()
    with pytest.raises(UserError, match=rf"review_tokens.parquet is missing; delete .*{OLD}"):
        migrate()


def test_there_is_nothing_to_move_without_a_store():
    with pytest.raises(UserError, match="there is no feature store"):
        migrate()
