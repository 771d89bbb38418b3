import json

import pytest

from components.data.exploration.explore import explore
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet
from tests.data.exploration.conftest import DATED, review

THREE = [review(number, (-1, 0, 1)[number % 3]) for number in range(60)]


def test_what_is_found_is_written_and_the_same_in_any_order(explored, tmp_path):
    found = explored(THREE)
    assert json.loads((tmp_path / "summary.json").read_text()) == found
    assert found == explored(THREE[::-1])
    assert found["rows"] == found["sampled"] == 60
    assert found["profile"]["sentiments"] == {"negative": 20, "neutral": 20, "positive": 20}
    assert {"love", "soft"} & {word["word"] for word in found["telling_words"]["positive"]}
    assert found["tokens"] is None
    assert found["course"]["first"] is None


def test_texts_are_looked_at_in_a_sample_and_rows_all_counted(explored):
    found = explored(THREE, sample_rows=10)
    assert (found["rows"], found["sampled"]) == (60, 10)
    assert found["words"]["histogram"][-1]["count"] + 40 >= 60
    assert found["duplicates"]["exact"] == {"repeated": 0, "across_splits": 0}


def test_tokens_are_counted_as_the_model_reads_them(explored, tiny_bert):
    found = explored([review(review_body="it is")], base_model=str(tiny_bert), max_tokens=3)
    assert (found["tokens"]["mean"], found["tokens"]["longer"]) == (4.0, 1.0), "with [CLS], [SEP]"


def test_near_pairs_name_the_classes(explored):
    body = "the waist is high and the hem falls just below the knee"
    rows = [review(1, 0, review_body=body), review(2, 1, review_body=f"{body}, which I like")]
    found = explored(rows, LabelSet.parse("bad good"))
    assert found["duplicates"]["near"]["examples"][0]["classes"] in (
        ["bad", "good"],
        ["good", "bad"],
    )


@pytest.mark.parametrize("row", [review(), review(title="T", rating=3, event_timestamp=DATED)])
def test_one_row_is_explored(explored, row):
    found = explored([row])
    assert found["rows"] == 1
    assert found["cut"] is None
    assert found["duplicates"]["near"]["pairs"] == 0
    assert all(not words for words in found["telling_words"].values())


def test_ten_thousand_categories_are_too_small_each(explored):
    rows = [review(number, product_category=f"c{number}") for number in range(10_000)]
    categories = explored(rows, sample_rows=50)["categories"]
    assert categories["in_all"] == 10_000
    assert [row["pooled"] for row in categories["rows"]] == [10_000]


def test_a_file_without_rows_or_of_something_else_is_refused(explored, tmp_path):
    with pytest.raises(UserError, match="has no rows"):
        explored([])
    (tmp_path / "prepared").write_text("no table")
    with pytest.raises(UserError, match="not a Parquet file"):
        explore(tmp_path / "prepared", tmp_path / "summary.json")
