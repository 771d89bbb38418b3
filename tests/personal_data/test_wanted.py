import html
import json

from hypothesis import given
from hypothesis import strategies as st

from components.personal_data.wanted import Wanted

TEXT = (
    "I bought “this” dress for a wedding & it didn't fit: the waist was far too high, "
    "the sleeves were <too> short, and the color was not at all what the picture showed."
)
WANTED = Wanted.of("r7", [("Not for me", TEXT)])


def test_a_text_is_recognised_cut_short_escaped_and_word_by_word():
    assert WANTED.is_in(f"somebody said: {TEXT[30:110]}…")
    assert WANTED.is_in(json.dumps({"said": TEXT}))
    assert WANTED.is_in(TEXT.upper())
    assert WANTED.is_in_page(f"<p>{html.escape(TEXT)}</p>")
    assert WANTED.is_in_page("".join(f"<b>{html.escape(word)}</b> " for word in TEXT.split()))
    assert not WANTED.is_in("I bought this dress for a wedding and it was far too short")
    assert not WANTED.is_in_page("<p>the color was not at all what I thought</p>")


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)))
def test_any_part_of_eighty_characters_is_recognised(start, end):
    part = TEXT[start:end]
    if len(part) >= 80:
        assert WANTED.is_in(part)


def test_a_text_that_anybody_might_write_is_not_looked_for():
    assert Wanted.of("r7", [(None, "Love it!!")]).pieces == ()
    assert Wanted.of("r7", [(None, "Love this dress so much!")]).is_in("love this DRESS, so much")
    assert not Wanted.of("r7").is_in("anything")


def test_what_other_people_wrote_too_says_nothing():
    same = Wanted.of("r7", [(None, TEXT)]).without_common([TEXT])
    assert (same.pieces, same.raw_pieces) == ((), ())
    half = Wanted.of("r7", [(None, TEXT)]).without_common([TEXT[:100]])
    assert not half.is_in(TEXT[:100])
    assert half.is_in(TEXT)


def test_the_review_service_may_know_it_by_its_text():
    assert any(one.startswith("text-") and len(one) == 29 for one in WANTED.ids)
