from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.features import views
from components.features.retrieve import retrieve_training_set
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_store, training_sets_dir
from components.shared.machine.online_features import latest_feature_service, online_features

pytestmark = pytest.mark.usefixtures("store_dir")

MIDDLE = "2024-01-05T12:00"  # after the reviews of the 1st to the 5th


@pytest.fixture
def read(tmp_path):
    """Retrieves a training set; returns the summary and the rows by id."""

    def run(prepared, service, **named):
        written = tmp_path / f"set{len(list(tmp_path.glob('set*')))}.parquet"
        done = retrieve_training_set(prepared, service, written, **named)
        return done, {row["review_id"]: row for row in pq.read_table(written).to_pylist()}

    return run


def test_the_same_data_gives_the_same_file(build, make_prepared, read):
    prepared = make_prepared()
    service = build(prepared).feature_service
    before = datetime.now(UTC)
    one, _ = read(prepared, service)
    two, _ = read(prepared, service, as_of=one.as_of)
    assert one.sha256 == two.sha256
    assert before < datetime.fromisoformat(one.as_of) < datetime.now(UTC)
    assert two.as_of == one.as_of


def test_the_store_remembers_what_the_training_set_was_made_of(build, make_prepared, read):
    prepared = make_prepared()
    done, rows = read(prepared, build(prepared).feature_service)
    read(prepared, "sentiment_training")
    (file,) = training_sets_dir().glob("*.parquet")
    assert file.stem == done.sha256[:20]
    spine = pq.read_table(file).to_pylist()
    names = [*views.SPINE_COLUMNS, "weight"]
    assert spine == [{name: row[name] for name in names} for row in rows.values()]


def test_only_the_prepared_reviews_are_retrieved(build, make_prepared, tmp_path, read):
    prepared = make_prepared()
    service = build(prepared).feature_service
    some = tmp_path / "some.parquet"
    pq.write_table(pq.read_table(prepared).slice(50), some)
    assert read(some, service)[0].rows == 10
    more = make_prepared(rows=61)
    with pytest.raises(UserError, match=r"review r00\d+ has a label .* not heard of"):
        read(more, service)
    for file in views.files_of(service.replace("sentiment_training", "review_tokens")):
        file.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read(some, service)


def test_an_unknown_service_raises_an_error(make_prepared, tmp_path):
    with pytest.raises(UserError, match="feature service nope is not registered"):
        retrieve_training_set(make_prepared(), "nope", tmp_path / "set.parquet")
    with pytest.raises(UserError, match="feature service nope is not registered; run the pipe"):
        online_features(["a"], "nope")
    with pytest.raises(UserError, match=r"former release .* migrate"):
        online_features(["a"], "sentiment_training_0123456789ab")
    with pytest.raises(UserError, match="the feature store is empty"):
        latest_feature_service(open_store())
    assert online_features([], "nope") == []


def test_as_of_a_time_the_labels_of_that_time_are_given(build, make_prepared, read):
    prepared = make_prepared()
    written = {row["review_id"]: row for row in pq.read_table(prepared).to_pylist()}
    service = build(prepared).feature_service
    done, rows = read(prepared, service, as_of=MIDDLE)
    assert done.as_of == "2024-01-05T12:00:00+00:00"
    for review_id, row in written.items():
        was_there = row["event_timestamp"] < datetime(2024, 1, 5, 12, tzinfo=UTC)
        assert (review_id in rows) == (was_there or row["split"] == "test")
    assert done.left_out == 60 - len(rows) > 0
    assert read(prepared, service, as_of=f"{MIDDLE}:00+02:00")[0].as_of.startswith("2024-01-05T10")


@pytest.mark.parametrize(
    ("as_of", "words"),
    [
        ("2023-12-31", r"no label of the train and validation reviews was known; .* 2024-01-01"),
        ("yesterday", "as_of 'yesterday' is not a time; write it as"),
        ("2999-01-01", "as_of 2999-01-01 is in the future"),
    ],
)
def test_a_time_that_gives_no_labels_is_refused(as_of, words, build, make_prepared, tmp_path):
    prepared = make_prepared()
    service = build(prepared).feature_service
    with pytest.raises(UserError, match=words):
        retrieve_training_set(prepared, service, tmp_path / "set.parquet", as_of)
    assert not (tmp_path / "set.parquet").exists()


def test_reviews_that_are_dated_ahead_count_now(build, make_prepared, read):
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    prepared = make_prepared(event_timestamp=[ahead] * 60)
    done, rows = read(prepared, build(prepared).feature_service)
    assert len(rows) == 60
    assert datetime.fromisoformat(done.as_of) == ahead


def test_an_id_that_stands_for_two_texts_gives_each_run_its_own(
    build, make_prepared, changed, read
):
    """Two data sets that number their reviews: each keeps what it prepared, now and then."""
    one, two = make_prepared(seed=1), make_prepared(seed=2)
    service = build(one).feature_service
    before, rows = read(one, service)
    grown = build(two)
    assert (grown.feature_service, grown.other_texts) == (service, 60)
    for as_of in ("", before.as_of):
        assert read(one, service, as_of=as_of)[0].sha256 == before.sha256
    expected = {row["review_id"]: row for row in pq.read_table(two).to_pylist()}
    _, other = read(two, service)
    for review_id, row in other.items():
        assert row == row | {name: expected[review_id][name] for name in ("sentiment", "split")}
        assert row["input_ids"] != rows[review_id]["input_ids"]
    # As of then nobody knew a label of the second's texts but of its own test reviews.
    with pytest.raises(UserError, match="no label of the train and validation reviews was known"):
        read(two, service, as_of=before.as_of)


def test_a_review_that_other_data_label_otherwise_keeps_the_label_of_each(
    build, make_prepared, changed, read
):
    prepared = make_prepared()
    service = build(prepared).feature_service
    before, _ = read(prepared, service)
    turned = changed(
        prepared, "turned", sentiment=lambda row: -row["sentiment"], rating=lambda _: 3
    )
    again = build(turned)
    assert (again.new_texts, again.new_labels, again.other_texts) == (0, 40, 0)
    now, rows = read(turned, service)
    assert {row["review_id"]: row["sentiment"] for row in rows.values()} == {
        row["review_id"]: row["sentiment"] for row in pq.read_table(turned).to_pylist()
    }
    assert (now.corrected, read(prepared, service)[0].sha256) == (0, before.sha256)
    assert read(prepared, service, as_of=before.as_of)[0].sha256 == before.sha256
    with pytest.raises(UserError, match="had another label in the feature store at that time"):
        read(turned, service, as_of=before.as_of)
    # By name alone, the label that was heard last is the review's.
    assert online_features(["r00001"], service)[0]["sentiment"] == rows["r00001"]["sentiment"]


def test_weak_labels_are_known_since_they_were_guessed(build, make_prepared, changed, read):
    prepared = make_prepared()

    def weak(name, probability):
        def value(of_weak, given):
            return lambda row: of_weak if row["split"] == "train" else row[given]

        return changed(
            prepared,
            name,
            label_source=value("weak", "label_source"),
            label_probability=value(probability, "label_probability"),
        )

    first, later = weak("first", 0.7), weak("later", 0.9)
    service = build(first).feature_service
    before, rows = read(first, service)
    assert {row["label_probability"] for row in rows.values() if row["split"] == "train"} == {0.7}
    with pytest.raises(UserError, match="no label of the train reviews was known"):
        read(first, service, as_of="2024-02-01")
    build(later)
    assert read(first, service)[0].sha256 == before.sha256
    _, rows = read(later, service)
    assert {row["label_probability"] for row in rows.values() if row["split"] == "train"} == {0.9}


def test_of_rows_of_one_time_the_one_that_was_written_last_counts(build, make_prepared, read):
    """As files of two runs may say, where the clock stood still."""
    prepared = make_prepared()
    service = build(prepared).feature_service
    (file,) = views.files_of("review_labels")
    table = pq.read_table(file)
    voted = table.set_column(
        *(table.schema.get_field_index("votes"), table.schema.field("votes")),
        pa.array([3] * 60, pa.int32()),
    )
    for number, (probability, days) in enumerate(((0.6, 2), (0.8, 3), (0.7, 1))):
        made = voted.to_pylist()
        for row in made:
            row["created_timestamp"] += timedelta(days=days)
            row |= {"label_probability": probability, "label_source": "reviewer"}
        written = pa.Table.from_pylist(made, schema=table.schema)
        pq.write_table(written, file.with_name(f"{'xzy'[number]}.parquet"))
    _, rows = read(prepared, service)
    taught = [row for row in rows.values() if row["split"] != "test"]
    assert {(row["label_probability"], row["label_source"]) for row in taught} == {
        (0.8, "reviewer")
    }
    kept = [row for row in rows.values() if row["split"] == "test"]
    assert "reviewer" not in {row["label_source"] for row in kept}
