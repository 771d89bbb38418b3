import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.headers import Columns, header_key, layout_of
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet
from tests.data.conftest import KAGGLE

PREDICTED = Columns(label_fields=())


def test_all_columns_of_the_kaggle_header_are_understood_but_the_row_number():
    positions = layout_of(KAGGLE, "x").positions
    assert sorted(positions.values()) == list(range(1, 11))
    assert positions["review_body"] == 4
    assert positions["product_category"] == 10


@pytest.mark.parametrize("name", ["REVIEW TEXT", " review_text ", "Review_Body", "review  text"])
def test_case_and_spacing_of_a_name_do_not_matter(name):
    assert layout_of([name], "x", PREDICTED).positions == {"review_body": 0}


def test_unknown_columns_may_repeat_but_fields_may_not():
    assert layout_of(["", "", "a", "a", "review_body"], "x", PREDICTED)
    with pytest.raises(UserError, match="x has two columns for review_body"):
        layout_of(["Review Text", "review_body"], "x", PREDICTED)
    with pytest.raises(UserError, match="two columns for rating: 'Rating' and 'Rating'"):
        layout_of(["Review Text", "Rating", "Rating"], "x", PREDICTED)


@pytest.mark.parametrize(
    ("columns", "positions"),
    [
        ("review_body=text rating=stars", {"review_body": 0, "rating": 1, "title": 3}),
        ("review_body=text sentiment=My_Label title=", {"review_body": 0, "sentiment": 2}),
        ("Review_Text=text sentiment=title", {"review_body": 0, "sentiment": 3}),
    ],
)
def test_named_columns_are_read_before_those_with_known_names(columns, positions):
    names = ["text", "stars", "My label", "title"]
    layout = layout_of(names, "x", Columns.parse(columns))
    assert layout.positions == positions
    assert layout.ignored == [n for i, n in enumerate(names) if i not in positions.values()]


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        ("body=text", [], "columns has 'body=text'; write FIELD=COLUMN.*review_body, title"),
        ("review_body", [], "columns has 'review_body'"),
        ("rating=a rating=b", [], "names rating twice"),
        ("title=a review_body=A", ["A", "rating"], "one column of x to two fields"),
        ("rating=stras", ["text", "Stars"], "no column 'stras'.*mean COLUMNS='rating=Stars'"),
        ("rating=zzz", ["text"], "no column 'zzz' to read rating from, only 'text'; name one"),
        ("rating=a", ["review_body", "a", "a"], "2 columns 'a'; rename all but one"),
        ("", ["Texts", "rating"], "'Review Text' .or 'review_body'.*='review_body=Texts'"),
        ("", ["text", "stars"], "and no column 'Rating'.*'review_body=text rating=stars'"),
        ("", ["review_body", "Star s"], "'Rating' .*'sentiment'.*COLUMNS='rating=Star_s'"),
        ("", ["review_body", "labels"], "COLUMNS='sentiment=labels'"),
        ("", ["review_body", "x"], "COLUMNS='rating=NAME'"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(columns, names, words):
    with pytest.raises(UserError, match=words):
        layout_of(names, "x", Columns.parse(columns))


def test_ratings_are_no_label_where_the_classes_do_not_follow_from_them():
    columns = Columns.parse("", LabelSet.parse("bad=0 good=1"))
    with pytest.raises(UserError, match=r"no column 'sentiment' .*do not follow.*=target'"):
        layout_of(["review_body", "rating", "target"], "x", columns)


NAMES = st.text(st.characters(exclude_characters="=", exclude_categories=["Z", "C"]), min_size=1)


@given(st.lists(NAMES, min_size=2, max_size=6, unique_by=header_key), st.data())
def test_any_name_without_white_space_can_be_given(names, data):
    chosen = data.draw(st.permutations(range(len(names))))[:2]
    text = "review_body={} rating={}".format(*(names[place] for place in chosen))
    positions = layout_of(names, "x", Columns.parse(text)).positions
    assert (positions["review_body"], positions["rating"]) == tuple(chosen)
