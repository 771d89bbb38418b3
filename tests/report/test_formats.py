"""How numbers are written."""

import math

import pytest
from jinja2 import Undefined

from components.report.formats import (
    MISSING,
    count,
    duration,
    moment,
    named,
    percent,
    plain,
    readable,
    score,
    signed,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (score(0.8712), "0.871"),
        (signed(0.0123), "+0.012"),
        (signed(-0.0123), "\u22120.012"),
        (percent(0.783), "78.3\u2009%"),
        (count(20000), "20,000"),
        (duration(0.42), "0.4\u2009s"),
        (duration(59.6), "1\u2009min"),
        (duration(200), "3\u2009min 20\u2009s"),
        (duration(3900), "1\u2009h 5\u2009min"),
        (plain(5e-5), "5e-05"),
        (plain(42), "42"),
        (plain(True), "yes"),
        (plain(["v2", "v1"]), "v2, v1"),
        (plain(""), MISSING),
        (named("fine-tune_classifier"), "fine tune classifier"),
        (readable("a\x00b\x1b\nc"), "ab\nc"),
        (moment("2026-11-21T05:20:11+00:00"), "2026-11-21 05:20 UTC"),
        (moment("today"), "today"),
    ],
)
def test_words(written, expected):
    assert written == expected


@pytest.mark.parametrize("value", [None, Undefined(), math.nan, math.inf, "x", True])
def test_what_is_no_number_becomes_a_dash(value):
    for write in (score, signed, percent, count, duration):
        assert write(value) == MISSING
