import sqlite3

import pyarrow.parquet as pq
import pytest

from components.features import additions, publish, views
from components.features.retrieve import retrieve_training_set
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import data_dir, open_store, store_dir
from components.shared.machine.files import read_json, sha256_of_file
from components.shared.machine.online_features import latest_feature_service, online_features
from components.shared.records.labels import LabelSet
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from feature_repo.definitions import feature_objects

pytestmark = pytest.mark.usefixtures("store_dir")


def rows_in(view):
    return sum(pq.read_metadata(file).num_rows for file in views.files_of(view))


def everything():
    """Rows of each view's folder."""
    return {view.name: rows_in(view.name) for view in folders()}


def folders():
    return [path for path in sorted(data_dir().glob("review_*")) if path.is_dir()]


def test_offline_and_online_features_equal_the_prepared_data(build, make_prepared, tmp_path):
    prepared = make_prepared(rows=90)
    summary = build(prepared)
    assert read_json(tmp_path / "summary.json")["rows"] == summary.rows == 90
    assert (summary.new_texts, summary.new_labels, summary.tokenised) == (90, 90, 90)
    assert summary.truncated > 0
    assert not summary.reused
    assert summary.checked_online >= 20
    retrieved = retrieve_training_set(prepared, summary.feature_service, tmp_path / "set.parquet")
    table = pq.ParquetFile(tmp_path / "set.parquet").read()
    assert table.schema.equals(TRAINING_SET_SCHEMA)
    assert retrieved.rows == 90
    assert (retrieved.corrected, retrieved.left_out) == (0, 0)
    assert retrieved.sha256 == sha256_of_file(tmp_path / "set.parquet")
    assert sum(retrieved.rows_per_split.values()) == 90
    tokens, reviews = (
        {row["review_id"]: row for row in pq.read_table(path).to_pylist()}
        for path in (tmp_path / "features.parquet", prepared)
    )
    rows = table.to_pylist()
    assert [row["review_id"] for row in rows] == sorted(reviews)
    online = online_features([*sorted(reviews), "unknown"], summary.feature_service)
    assert online.pop() is None
    for row, looked_up in zip(rows, online, strict=True):
        known = reviews[row["review_id"]] | tokens[row["review_id"]]
        assert row == {name: known[name] for name in row}
        assert looked_up == looked_up | {
            name: row[name] for name in row.keys() - {"split", "copies", "product_category"}
        }
        assert looked_up["votes"] is None


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


def test_equal_content_adds_nothing_and_new_content_only_itself(
    build, make_prepared, changed, tmp_path
):
    def renamed(row):
        return row["review_id"].replace("r0005", "new")

    prepared = make_prepared(rows=60)
    first = build(prepared)
    before = sha256_of_file(tmp_path / "features.parquet")
    again = build(prepared, fingerprint="the same under another name")
    assert (again.reused, again.materialise_seconds, again.tokenised) == (True, 0, 0)
    assert (again.rows, again.mean_tokens, again.truncated) == (
        *(first.rows, first.mean_tokens, first.truncated),
    )
    assert again.feature_service == first.feature_service
    assert sha256_of_file(tmp_path / "features.parquet") == before
    assert set(everything().values()) == {60}
    more = changed(prepared, "more", review_id=renamed)
    grown = build(more)
    assert (grown.new_texts, grown.new_labels, grown.tokenised) == (10, 10, 10)
    assert (grown.rows, grown.other_texts) == (60, 0)
    assert set(everything().values()) == {70}
    assert all(name.stem == sha256_of_file(name)[:20] for name in data_dir().glob("*/*.parquet"))


def test_other_tokens_and_other_classes_have_views_of_their_own(
    build, make_prepared, changed, tmp_path
):
    prepared, labels = make_prepared(), LabelSet.parse("bad=1,2 good=4,5")
    two = changed(prepared, "two", labels, sentiment=lambda row: row["sentiment"] % 2)
    long, short = build(prepared, 24), build(prepared, 8)
    assert (short.new_texts, short.new_labels, short.tokenised) == (0, 0, 60)
    binary = build(two, 24)
    assert (binary.new_texts, binary.new_labels, binary.tokenised) == (0, 60, 0)
    tokens = [one.feature_service.removeprefix("sentiment_training_") for one in (long, short)]
    own = binary.feature_service.removeprefix(f"sentiment_training_{tokens[0]}_")
    assert [folder.name for folder in folders()] == [
        *("review_labels", f"review_labels_{own}", "review_text"),
        *sorted(f"review_tokens_{one}" for one in tokens),
    ]
    store = open_store()
    assert {view.name for view in store.list_feature_views()} == {one.name for one in folders()}
    newest = store.get_feature_service(latest_feature_service(store))
    assert (newest.name, newest.tags["max_tokens"]) == ("sentiment_training", "8")
    with pytest.raises(UserError, match="made from other data"):
        retrieve_training_set(prepared, binary.feature_service, tmp_path / "set.parquet")
    retrieve_training_set(two, binary.feature_service, tmp_path / "2.parquet")
    assert LabelSet.of(pq.read_schema(tmp_path / "2.parquet")) == labels


def test_registering_again_registers_the_same(build, make_prepared):
    build(make_prepared())
    store = open_store()
    first = {one.name: one.to_proto().spec for one in store.list_feature_views()}
    store.apply(feature_objects(data_dir()))
    assert {one.name: one.to_proto().spec for one in store.list_feature_views()} == first


@pytest.mark.parametrize(
    "victim",
    ["texts", "labels", "tokenise_reviews", "tokens", "apply_objects", "online", "_write_features"],
)
def test_the_next_run_completes_one_that_died(victim, build, make_prepared, tmp_path, monkeypatch):
    """Each file is added once, whatever came of the run that began to add them."""
    prepared = make_prepared()

    def die(*_, **__):
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        if victim == "online":
            # Dies half-way: one view is copied, the other is not.
            from feast.infra.online_stores.sqlite import SqliteOnlineStore

            write = SqliteOnlineStore.online_write_batch

            def write_once(*args, **named):
                patched.setattr(SqliteOnlineStore, "online_write_batch", die)
                write(*args, **named)

            patched.setattr(SqliteOnlineStore, "online_write_batch", write_once)
        elif victim in ("texts", "labels", "tokens"):
            # After the file was put into the folder.
            at = {"texts": "review_text", "labels": "review_labels", "tokens": "review_tokens"}
            add = additions.add

            def add_and_die(view, draft):
                done = add(view, draft)
                return die() if view.startswith(at[victim]) else done

            patched.setattr(additions, "add", add_and_die)
        else:
            patched.setattr(additions if victim.startswith("tok") else publish, victim, die)
        with pytest.raises(SystemExit):
            build(prepared)
    assert not {"features.parquet", "summary.json"} & {path.name for path in tmp_path.iterdir()}
    summary = build(prepared)
    retrieved = retrieve_training_set(prepared, summary.feature_service, tmp_path / "set.parquet")
    assert retrieved.rows == summary.rows == 60
    assert set(everything().values()) == {60}
    assert None not in online_features(["r00000", "r00059"], summary.feature_service)


def test_a_draft_of_a_killed_run_is_neither_read_nor_left(build, make_prepared):
    build(make_prepared(seed=1))
    leftover = data_dir() / ".drafts" / "review_text-abc" / "draft.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    build(make_prepared(seed=2))
    assert not leftover.exists()


def test_what_the_online_store_lost_is_copied_again(build, make_prepared, store_dir):
    prepared = make_prepared()
    service = build(prepared).feature_service
    view = service.replace("sentiment_training", "review_tokens")
    with sqlite3.connect(store_dir / "online.db") as online:
        online.execute(f'DELETE FROM "review_sentiment_{view}"')
    assert build(prepared).materialise_seconds > 0
    (store_dir / "online.db").unlink()
    assert build(prepared).materialise_seconds > 0
    assert online_features(["r00000"], service)[0]["n_tokens"] > 0


def test_the_online_store_gets_the_new_rows_alone(build, make_prepared, changed, monkeypatch):
    from feast.infra.online_stores.sqlite import SqliteOnlineStore

    written, write = [], SqliteOnlineStore.online_write_batch

    def count(self, config, table, data, progress):
        written.append((table.name.split("_")[1], len(data)))
        write(self, config, table, data, progress)

    monkeypatch.setattr(SqliteOnlineStore, "online_write_batch", count)
    prepared = make_prepared(rows=40)
    build(prepared)
    assert written == [("labels", 40), ("tokens", 40)]
    build(changed(prepared, "more", review_id=lambda row: row["review_id"].replace("r0003", "n")))
    assert written[2:] == [("labels", 10), ("tokens", 10)]
    other = {"review_body": lambda row: "Another text", "sentiment": lambda row: 1}
    build(changed(prepared, "other", **other), 24)
    assert written[4:] == [("labels", 40), ("tokens", 40)]
    assert {
        row["sentiment"] for row in online_features(["r00001", "r00002"], "sentiment_training")
    } == {1}


def test_bad_prepared_files_raise_an_error(build, make_prepared, tmp_path):
    first = build(make_prepared(seed=1)).feature_service
    lacking = tmp_path / "lacking.parquet"
    pq.write_table(pq.read_table(make_prepared()).drop_columns(["split"]), lacking)
    (tmp_path / "text.parquet").write_text("no")
    for path, words in (
        (tmp_path / "none.parquet", "does not exist"),
        (tmp_path / "text.parquet", "is not a Parquet file"),
        (make_prepared(rows=0), "holds no reviews"),
        (lacking, "has no column split"),
        (make_prepared(rows=9, sentiment=[None] * 9), "rows without sentiment"),
        (make_prepared(seed=3, review_id=["same"] * 60), "has review_id same twice"),
    ):
        with pytest.raises(UserError, match=words):
            build(path)
    names = {service.name for service in open_store().list_feature_services()}
    assert names == {first, "sentiment_training"}
    assert set(everything().values()) == {60}
