import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.records.text import MAX_MARKS, clean_text, has_too_many_marks, model_text


@pytest.mark.parametrize(
    ("title", "body", "text"),
    [
        ("Lovely", "Fits well.", "Lovely. Fits well."),
        ("Lovely!", "Fits well.", "Lovely! Fits well."),
        (None, "Fits well.", "Fits well."),
        ("  ", " Fits well. ", "Fits well."),
        ("Lovely", None, "Lovely"),
        (None, None, ""),
    ],
)
def test_title_and_body_read_as_sentences(title, body, text):
    assert model_text(title, body) == text


@given(st.none() | st.text(), st.none() | st.text())
def test_nothing_of_either_part_is_lost(title, body):
    text = model_text(title, body)
    assert text.startswith(clean_text(title or ""))
    assert text.endswith(clean_text(body or ""))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  two \t words\r\nand a line ", "two words and a line"),
        ("cafe\u0301", "caf\u00e9"),
        ("a\x00b\x07c\ufeff", "abc"),
        ("Keeps CASE, 5'8\"; &amp; <b>!", "Keeps CASE, 5'8\"; &amp; <b>!"),
        ("👩\u200d👧 ❤️", "👩\u200d👧 ❤️"),
        ("\u200b \u00a0", ""),
    ],
)
def test_cleaning_removes_noise_alone(text, cleaned):
    assert clean_text(text) == cleaned


@pytest.mark.timeout(20)
@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0301\u200b\u0316\u200b", "\u0344", "\u0f73"])
def test_many_marks_cost_little(marks):
    text = "a" + marks * 50_000
    assert has_too_many_marks(text)
    assert len(clean_text(text)) <= MAX_MARKS + 1
    assert not has_too_many_marks("a\u0301" * 1000 + "x" + "\u0316\u200b" * MAX_MARKS)


@given(st.text() | st.text("a\u0301\u0316\u0344\u200b", min_size=60, max_size=200))
def test_cleaning_twice_changes_nothing_more(text):
    assert clean_text(clean_text(text)) == clean_text(text)
