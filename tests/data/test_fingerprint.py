import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.data.fingerprint import content_digests, data_fingerprint
from components.data.headers import FIELDS
from components.shared.records.reviews import REVIEW_SCHEMA


def columns(rows):
    return {
        name: pa.array([row.get(name) for row in rows], REVIEW_SCHEMA.field(name).type)
        for name in FIELDS
    }


def test_the_same_rows_have_the_same_version_in_every_process():
    # Written down: hashes of Python's own would differ from one process to the next.
    rows = [{"review_body": f"text {i}", "rating": 1 + i % 5} for i in range(40)]
    digests = content_digests(columns(rows))
    assert digests[0].hex() == "8e857d751ff51e9ab0ba2f7df49fe3c5"
    assert data_fingerprint(set(digests)) == "a9736141b56092fbcc8876e6b6cef84c"
    assert data_fingerprint(set(digests[:-1])) != "a9736141b56092fbcc8876e6b6cef84c"


_text = st.none() | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
)


@given(st.lists(st.tuples(_text, _text, _text), unique=True, max_size=20))
def test_rows_that_differ_in_any_field_have_different_digests(rows):
    names = ("title", "product_category", "division")
    made = content_digests(columns([dict(zip(names, row, strict=True)) for row in rows]))
    assert len(set(made)) == len(rows)
