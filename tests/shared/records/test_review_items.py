import pytest

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.review_items import check_answers, item_id_of, review_items_schema


def test_an_item_has_the_reviews_id_or_one_of_its_text():
    assert item_id_of("r7", "ab" * 32) == "r7"
    assert item_id_of(None, "ab" * 32) == item_id_of("", "ab" * 32) == "text-" + "ab" * 12


def test_items_hold_the_probability_of_each_class_of_any_label_set():
    stars = LabelSet.parse("one two three four five")
    schema = review_items_schema(stars)
    assert [name for name in schema.names if name.startswith("p_")] == [
        f"p_{name}" for name in stars.names
    ]
    assert LabelSet.of(schema) == stars


def test_a_class_may_not_be_called_like_the_answer_of_who_cannot_tell():
    assert check_answers(SENTIMENTS) == (*SENTIMENTS.names, "cannot_tell")
    with pytest.raises(UserError, match="'cannot_tell', which is what reviewers answer"):
        check_answers(LabelSet.parse("good cannot_tell"))
