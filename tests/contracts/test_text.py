import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.text import model_text


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
def test_title_and_body_read_as_sentences(title, body, text) -> None:
    assert model_text(title, body) == text


@given(st.none() | st.text(), st.none() | st.text())
def test_nothing_of_either_part_is_lost(title, body) -> None:
    text = model_text(title, body)
    assert text.startswith((title or "").strip())
    assert text.endswith((body or "").strip())
