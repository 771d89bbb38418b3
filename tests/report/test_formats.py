"""How numbers are written."""

import math

import pytest
from jinja2 import Undefined

from components.report.formats import (
    MISSING,
    count,
    duration,
    milliseconds,
    moment,
    named,
    percent,
    plain,
    points,
    rate,
    readable,
    score,
    sentence,
    signed,
    tick,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (score(0.8712), "0.871"),
        (signed(0.0123), "+0.012"),
        (signed(-0.0123), "\u22120.012"),
        (percent(0.783), "78.3\u202f%"),
        (count(20000), "20,000"),
        (points(0.0123), "+1.2"),
        (points(-0.5), "\u221250"),
        (points(-0.0004), "0"),
        (points(-0.0004, 1), "+0.0"),
        (points(0.04, 1), "+4.0"),
        (points(None), "unknown"),
        (rate((250, 2000)), "12.5\u202f%"),
        (rate((0, 0)), "none"),
        (milliseconds(0.00861), "8.61\u202fms"),
        (tick(12500.0), "12,500"),
        (tick(-0.25), "\u22120.25"),
        (sentence(" all is well"), "All is well."),
        (sentence("Is it?"), "Is it?"),
        (sentence(None), ""),
        (duration(0.42), "0.4\u202fs"),
        (duration(59.6), "1\u202fmin"),
        (duration(200), "3\u202fmin 20\u202fs"),
        (duration(3900), "1\u202fh 5\u202fmin"),
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
def test_what_is_not_a_number_becomes_a_dash(value):
    for write in (score, signed, percent, count, duration, milliseconds):
        assert write(value) == MISSING
