import pytest

from components.data.headers import layout_of
from components.shared.machine.errors import UserError
from tests.data.conftest import KAGGLE


def test_all_columns_of_the_kaggle_header_are_understood_but_the_row_number():
    positions = layout_of(KAGGLE, "x", labels_required=True).positions
    assert sorted(positions.values()) == list(range(1, 11))
    assert positions["review_body"] == 4
    assert positions["product_category"] == 10


@pytest.mark.parametrize("name", ["REVIEW TEXT", " review_text ", "Review_Body", "review  text"])
def test_case_and_spacing_of_a_name_do_not_matter(name):
    assert layout_of([name], "x", labels_required=False).positions == {"review_body": 0}


def test_unknown_columns_may_repeat_but_fields_may_not():
    assert layout_of(["", "", "a", "a", "review_body"], "x", labels_required=False)
    with pytest.raises(UserError, match="x has two columns for review_body"):
        layout_of(["Review Text", "review_body"], "x", labels_required=False)
    with pytest.raises(UserError, match="two columns for rating: 'Rating' and 'Rating'"):
        layout_of(["Review Text", "Rating", "Rating"], "x", labels_required=False)
