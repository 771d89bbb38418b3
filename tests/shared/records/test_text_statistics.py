import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.records.text_statistics import TEXT_STATISTICS, text_statistics


def row(text, known):
    return {name: column[0].as_py() for name, column in text_statistics([text], known).items()}


def test_the_numbers_of_a_text():
    found = row("The Kleid is the schön", {"the", "is"})
    assert found == {
        "n_words": 5,
        "unknown_share": pytest.approx(2 / 5),
        "function_word_share": pytest.approx(3 / 5),
        "non_ascii_share": pytest.approx(1 / 22),
        "distinct_share": pytest.approx(4 / 5),
    }


def test_what_cannot_be_counted_is_null():
    nothing = dict.fromkeys((field.name for field in TEXT_STATISTICS), None)
    assert row(None, {"a"}) == nothing
    assert row("", {"a"}) == nothing | {"n_words": 0}
    assert row("10/10 ♥", {"a"}) == nothing | {
        "n_words": 0,
        "non_ascii_share": pytest.approx(1 / 7),
    }
    assert row("a dress", None)["unknown_share"] is None
    assert row("a dress", frozenset())["unknown_share"] == 1


@given(st.lists(st.none() | st.text(st.characters(), max_size=30)))
def test_any_text_gives_rows_of_the_schema_with_shares_of_one(texts):
    columns = text_statistics(texts, {"a"})
    table = pa.table(columns)
    assert table.schema == pa.schema(TEXT_STATISTICS)
    assert len(table) == len(texts)
    for name in table.column_names[1:]:
        assert all(value is None or 0 <= value <= 1 for value in table[name].to_pylist())
