from html import unescape
from xml.etree import ElementTree

import pytest

from components.review.label_studio.page import answers, instructions, labelling_page, title_of
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet

MOST = LabelSet.parse(" ".join(f"class-{n}" for n in range(20)))


def choices_of(labels):
    page = ElementTree.fromstring(labelling_page(labels))
    return [(one.get("value"), one.get("alias"), one.get("hotkey")) for one in page.iter("Choice")]


def test_the_default_page_has_keys_1_to_4_and_stores_numbers():
    assert choices_of(SENTIMENTS) == [
        ("negative", "-1", "1"),
        ("neutral", "0", "2"),
        ("positive", "1", "3"),
        ("can't tell", "cannot_tell", "4"),
    ]


@pytest.mark.parametrize("labels", [SENTIMENTS, LabelSet.parse("bad good"), MOST])
def test_each_answer_has_a_key_of_its_own_and_is_read_back(labels):
    choices = choices_of(labels)
    assert len({key for *_, key in choices}) == len(choices) == len(labels) + 1
    known = answers(labels)
    assert [known[alias] for _, alias, _ in choices] == [*labels.names, "cannot_tell"]
    said = unescape(instructions(labels))
    assert all(f"<b>{key}</b>: {shown}" in said for shown, _, key in choices)
    assert 3 <= len(title_of(labels)) <= 50


def test_the_page_shows_title_and_text_only():
    page = ElementTree.fromstring(labelling_page(SENTIMENTS))
    shown = {one.get("value") for one in page.iter() if (one.get("value") or "").startswith("$")}
    assert shown == {"$title", "$review_body"}
    assert {one.tag for one in page.iter()} == {"View", "Header", "Text", "Choices", "Choice"}


def test_a_class_that_is_called_like_the_last_answer_is_refused():
    with pytest.raises(UserError, match="cannot_tell"):
        labelling_page(LabelSet.parse("good cannot_tell"))
