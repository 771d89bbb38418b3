import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.clean import clean
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
