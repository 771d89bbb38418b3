"""How numbers are written."""

import math

import pytest
from jinja2 import Undefined

from components.report import formats
from components.report.formats import MISSING, duration, plain, points


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.score(0.8712), "0.871"),
        (formats.signed(0.0123), "+0.012"),
        (formats.signed(-0.0123), "\u22120.012"),
        (formats.percent(0.783), "78.3\u202f%"),
        (formats.count(20000), "20,000"),
        (points(0.0123), "+1.2"),
        (points(-0.5), "\u221250"),
        (points(-0.0004), "0"),
        (points(-0.0004, 1), "+0.0"),
        (points(0.04, 1), "+4.0"),
        (points(None), "unknown"),
        (formats.rate((250, 2000)), "12.5\u202f%"),
        (formats.rate((0, 0)), "none"),
        (formats.milliseconds(0.00861), "8.61\u202fms"),
        (formats.tick(12500.0), "12,500"),
        (formats.tick(-0.25), "\u22120.25"),
        (formats.sentence(" all is well"), "All is well."),
        (formats.sentence("Is it?"), "Is it?"),
        (formats.sentence(None), ""),
        (duration(0.42), "0.4\u202fs"),
        (duration(59.6), "1\u202fmin"),
        (duration(200), "3\u202fmin 20\u202fs"),
        (duration(3900), "1\u202fh 5\u202fmin"),
        (plain(5e-5), "5e-05"),
        (plain(42), "42"),
        (plain(True), "yes"),
        (plain(["v2", "v1"]), "v2, v1"),
        (plain(""), MISSING),
        (formats.named("fine-tune_classifier"), "fine tune classifier"),
        (formats.readable("a\x00b\x1b\nc"), "ab\nc"),
        (formats.moment("2026-11-21T05:20:11+00:00"), "2026-11-21 05:20 UTC"),
        (formats.moment("today"), "today"),
    ],
)
def test_words(written, expected):
    assert written == expected


@pytest.mark.parametrize("value", [None, Undefined(), math.nan, math.inf, "x", True])
def test_what_is_not_a_number_becomes_a_dash(value):
    for name in ("score", "signed", "percent", "count", "duration", "milliseconds"):
        assert formats.FILTERS[name](value) == MISSING
