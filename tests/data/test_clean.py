import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.clean import clean, text_identity
from components.shared.records.text import clean_text


@given(st.text())
def test_without_options_training_reads_what_serving_reads(text):
    assert clean(text) == clean_text(text)


def test_case_punctuation_and_mark_up_stay_unless_asked():
    text = "LOVE it!!  <b>5'4\"</b> &amp; more<br/>end"
    assert clean(text) == "LOVE it!! <b>5'4\"</b> &amp; more<br/>end"
    assert clean(text, strip_html=True) == "LOVE it!! 5'4\" & more end"
    assert clean(text, lowercase=True).startswith("love it!!")
    assert clean("3 < 4 and 5 > 2", strip_html=True) == "3 < 4 and 5 > 2"


@pytest.mark.parametrize("mark", ["<", "<a", "<!--", "<br "])
def test_open_tags_take_linear_time(mark):
    assert clean(mark * 20_000, strip_html=True)


def test_case_and_punctuation_do_not_make_another_text():
    same = [("Love it!", "love  IT"), ("so-so", "So so."), ("Straße", "STRASSE"), ("it's", "its")]
    for one, other in same:
        assert text_identity(one) == text_identity(other)
    for one, other in (("👍", "👎"), ("!!", "??"), ("a1", "a2"), ("é", "e")):
        assert text_identity(one) != text_identity(other)


@given(st.text(st.characters(max_codepoint=127), min_size=1))
def test_the_fast_way_for_ascii_is_the_same(text):
    # A letter that is not ASCII sends the text the general way.
    assert text_identity(text + "xé") == text_identity(text + "x") + "é"
