import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.records.masking import KINDS, Masker

_WORDS = """
    a and are at best but by called call card do dot dress email fits for from good great grace
    have i i'm i've in is it it's know lovely love loves mail my miss model mr mrs name number of on
    order pay pretty rose size sizes small so soft thanks the they this to was wear with will you
    your retailer write
"""
KNOWN = frozenset(_WORDS.split())


@pytest.fixture(scope="module")
def masker():
    return Masker(KNOWN)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to anna.k+x@mail-1.example.co.uk.", "write to [email]."),
        ("write to anna (at) mail [dot] com!", "write to [email]!"),
        ("write to anna at mail dot com", "write to [email]"),
        ("email (ANNA@EXAMPLE.COM)", "email ([email])"),
        ("call (212) 555-0187 or so", "call [phone] or so"),
        ("call +49 30 901820", "call [phone]"),
        ("my number is 020 7946 0018", "my number is [phone]"),
        ("2125550187", "[phone]"),
        ("card 4111 1111 1111 1111, size 10", "card [card], size 10"),
        ("size 10 4111-1111-1111-1111 12", "size 10 [card] 12"),
        ("pay DE89 3704 0044 0532 0130 00 by card", "pay [iban] by card"),
        ("pay gb82west12345698765432", "pay [iban]"),
        ("my name is Grace", "my name is [name]"),
        ("My name's grzegorz and it fits", "My name's [name] and it fits"),
        ("Mrs. Rose Will loves it", "Mrs. [name] loves it"),
        ("it fits. Thanks, Grace!", "it fits. Thanks, [name]!"),
        ("it fits. Love - Rose K.", "it fits. Love - [name]"),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m Anna Rose", "I\N{RIGHT SINGLE QUOTATION MARK}m [name]"),
        ("so Agnieszka's dress fits", "so [name] dress fits"),
        ("the Jean-Luc dress", "the [name]-[name] dress"),
        ("Łucja loves it", "[name] loves it"),
    ],
)
def test_what_is_personal_is_replaced(masker, text, masked):
    assert masker.mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        "Lovely dress. It fits and I love it, size 10 or 12, 5'4\", 125 lbs, 34-26-38.",
        "i'm 5'5\" 34d, 24-25 waist; 10/10, $129.95, 2016-2017",
        "card 4111 1111 1111 1112",  # a wrong check digit
        "order 1289 3704 0044 0532",
        "it loves @ the dress, good at size dot",
        "I'm Small. This is Great! Thanks Retailer, it fits",
    ],
)
def test_what_is_not_personal_stays(masker, text):
    assert masker.mask(text) == (text, {})


def test_finds_are_counted_by_kind(masker):
    finds = masker.mask("I'm Anna, a@b.com or c@d.org; my name is Grace").finds
    assert finds == {"name": 2, "email": 2}
    assert set(finds) <= set(KINDS)


def test_strict_takes_every_rare_word_and_without_a_list_cues_alone_are_known():
    text = "the dress of agnieszka and Bartek. I'm Small"
    assert Masker(KNOWN, strict=True).mask(text).text == (
        "the dress of [name] and [name]. I'm Small"
    )
    assert Masker(None).mask(text).text == "the dress of agnieszka and Bartek. I'm [name]"


PARTS = st.sampled_from(
    [
        *("Anna", "Rose", "I'm", "Mrs.", "my name is", "thanks,", "Love", "-", "K.", "é", "Ł"),
        *("@", "x@y.com", "(at)", " dot ", "com", ".", "[", "]", "[name]", "[email]", "'", "\n"),
        *("4111 1111 1111 1111", "DE89370400440532013000", "212 555 0187", "+49", "34-26-38", "7"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PARTS | st.text(st.characters(), max_size=4), max_size=12), st.booleans())
def test_what_is_masked_stays_as_it_is(parts, strict):
    masker = Masker(KNOWN, strict=strict)
    for separator in ("", " "):
        once = masker.mask(separator.join(parts))
        assert masker.mask(once.text) == (once.text, {})


def test_long_texts_of_any_kind_take_little_time(masker):
    started = time.process_time()
    for part in ("a", "a@", "Ab ", "1", "1 ", "a dot ", "A.", "a-", "@", "x.", "my name is "):
        masker.mask((part * 20_000)[:20_000])
    assert time.process_time() - started < 10
