import pyarrow as pa
import pytest

from components.deployment.asking.labelled_reviews import read_labelled_reviews
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_parquet
from components.shared.records.reviews import REVIEW_SCHEMA


def test_labelled_reviews_are_read_shuffled_and_those_without_a_label_left_out(tmp_path):
    schema = pa.schema([REVIEW_SCHEMA.field(name) for name in ("review_body", "title")])
    schema = schema.append(pa.field("sentiment", pa.int32()))
    rows = [
        {"review_body": f"{number}", "title": None, "sentiment": None if number == 5 else -1}
        for number in range(40)
    ]
    path = tmp_path / "labelled.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, schema=schema))
    found = read_labelled_reviews(path)
    assert {review.body for review in found} == {str(n) for n in range(40)} - {"5"}
    assert {review.label for review in found} == {"negative"}
    assert [review.body for review in found[:10]] != [str(n) for n in range(10)]
    assert found == read_labelled_reviews(path) != read_labelled_reviews(path, seed=1)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no-such\.parquet"):
        read_labelled_reviews(tmp_path / "no-such.parquet")
