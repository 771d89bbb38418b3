import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.records.reviews import SPLITS, TRAINING_SET_SCHEMA, splits_digest

rows = st.dictionaries(st.text(max_size=5), st.sampled_from(SPLITS), min_size=1)


def training_set(path, splits):
    made = {
        "review_id": list(splits),
        "split": list(splits.values()),
        "sentiment": [0] * len(splits),
        "copies": [1] * len(splits),
        "label_source": ["rating"] * len(splits),
        "label_probability": [1.0] * len(splits),
        "weight": [1.0] * len(splits),
        "input_ids": [[1]] * len(splits),
        "n_tokens": [1] * len(splits),
    }
    table = pa.Table.from_pylist(
        [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)],
        schema=TRAINING_SET_SCHEMA,
    )
    pq.write_table(table, path)
    return path


@settings(max_examples=30)
@given(splits=rows, data=st.data())
def test_the_digest_is_of_the_reviews_in_each_split_and_not_of_their_order(
    splits, data, tmp_path_factory
):
    file = tmp_path_factory.mktemp("sets") / "set"
    digest = splits_digest(training_set(file, splits))
    again = dict(data.draw(st.permutations(list(splits.items()))))
    assert splits_digest(training_set(file, again)) == digest
    review = data.draw(st.sampled_from(list(splits)))
    moved = {**splits, review: next(name for name in SPLITS if name != splits[review])}
    assert splits_digest(training_set(file, moved)) != digest
    of_test = splits_digest(training_set(file, splits), "test")
    untouched = "test" not in (splits[review], moved[review])
    assert (splits_digest(training_set(file, moved), "test") == of_test) is untouched
