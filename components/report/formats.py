"""How numbers and texts are written on the page; what is missing becomes a dash."""

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Undefined

from components.report.palette import class_colours

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
MISSING = "\u2013"


def _number(value: Any) -> float | None:
    """The value as a finite number, or None."""
    if value is None or isinstance(value, Undefined | bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any, form: str, times: float = 1) -> str:
    number = _number(value)
    return MISSING if number is None else form.format(times * number).replace("-", "\u2212")


def score(value: Any, decimals: int = 3) -> str:
    """A share between 0 and 1 with three decimals, e.g. 0.872."""
    return _shown(value, f"{{:.{decimals}f}}")


def signed(value: Any) -> str:
    """A difference with its sign, e.g. +0.012."""
    return _shown(value, "{:+.3f}")


def percent(value: Any, decimals: int = 1) -> str:
    """A share in percent, e.g. 78.3 %."""
    return _shown(value, f"{{:.{decimals}f}}\u202f%", 100)


def points(value: Any, decimals: int | None = None) -> str:
    """A difference of two shares in percentage points with its sign, e.g. +1.2."""
    number = _number(value)
    if number is None:
        return "unknown"
    rounded = round(100 * number, 1) or 0.0  # no minus before a zero
    if decimals is None:
        return f"{rounded:+g}".replace("-", "\u2212") if rounded else "0"
    return f"{rounded:+.{decimals}f}".replace("-", "\u2212")


def rate(happened_of: Any) -> str:
    """A share in percent from a count and what it is of, e.g. 12.5 % from 250 of 2,000."""
    happened, of = happened_of
    return percent(happened / of) if of else "none"


def milliseconds(seconds: Any) -> str:
    """A latency, e.g. 8.61 ms."""
    return _shown(seconds, "{:,.3g}\u202fms", 1000)


def tick(value: float) -> str:
    """A number beside an axis: thousands with a comma, no needless decimals."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}".replace("-", "\u2212")


def sentence(words: Any) -> str:
    """With a capital letter and a full stop."""
    words = str(words or "").strip()
    end = "" if not words or words.endswith((".", "!", "?")) else "."
    return words[:1].upper() + words[1:] + end


def count(value: Any) -> str:
    """A count with thousands separated, e.g. 20,000."""
    return _shown(value, "{:,.0f}")


def plain(value: Any) -> str:
    """A number with four significant digits; anything else as the text it is."""
    if value is None or isinstance(value, Undefined) or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        number = _number(value)
        return MISSING if number is None else f"{number:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items()) or MISSING
    return readable(value)


def mebibytes(size: Any) -> str:
    """A number of bytes in MiB, e.g. 1,250 MiB."""
    number = _number(size)
    return MISSING if number is None else f"{number / 2**20:,.0f}\u202fMiB"


def duration(seconds: Any) -> str:
    """A time span, e.g. 0.4 s, 12 s, 3 min 20 s, 1 h 5 min."""
    number = _number(seconds)
    if number is None:
        return MISSING
    if number < 10:
        return f"{number:.1f}\u202fs"
    whole = round(number)
    if whole < 60:
        return f"{whole}\u202fs"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}\u202fmin {rest}\u202fs" if rest else f"{minutes}\u202fmin"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u202fh {minutes}\u202fmin" if minutes else f"{hours}\u202fh"


def moment(value: Any) -> str:
    """An ISO time stamp as date and time in UTC; what is not one stays as it is."""
    try:
        parsed = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return readable(value)
    if parsed.tzinfo is None:
        return f"{parsed:%Y-%m-%d %H:%M}"
    return f"{parsed.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def readable(text: Any) -> str:
    """A text without the control characters that HTML does not allow; a dash where missing."""
    if text is None or isinstance(text, Undefined):
        return MISSING
    return _UNWRITABLE.sub("", str(text))


def named(key: Any) -> str:
    """A key of a summary as words: `learning_rate` becomes `learning rate`."""
    return str(key).replace("_", " ").replace("-", " ").replace("macro f1", "macro-F1")


FILTERS = {
    function.__name__: function
    for function in (
        *(score, signed, percent, points, rate, milliseconds, count),
        *(plain, mebibytes, duration, moment, readable, named, sentence, class_colours),
    )
}
"""The functions by the names that templates use."""
