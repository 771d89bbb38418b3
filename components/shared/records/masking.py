"""Personal data taken out of a text before it leaves: into logs, review, training sets, reports.

It knows forms (e-mail, phone, card, IBAN), cues ("my name is", "Mrs.") and that a capitalised word
that hardly anybody writes as a common word may be a name. It knows no street addresses.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from components.shared.records.known_words import words_of

KINDS: tuple[str, ...] = ("email", "phone", "card", "iban", "name")
"""What is found; `[email]` and so on stand in its place."""

Span = tuple[int, int]
"""Where something was found: its first character, and the one after its last."""

_HOME = "US"
"""Whose phone numbers are known by their length alone; others by their country code."""

_ABROAD = ("GB", "DE", "FR")
"""Whose numbers are known without the code as well, where they are valid."""

_AT = r"(?:\s?[@\uff20]\s?|\s?[(\[{]\s?at\s?[)\]}]\s?|\s+at\s+(?=[\w-]+\s+dot\s))"
_DOT = r"(?:\.|\s?[(\[{]\s?dot\s?[)\]}]\s?|\s+dot\s+)"
_MAY_BE_EMAIL = re.compile(r"[@\uff20({\[](?:(?<=[@\uff20])|\s?(?i:at)\s?[)\]}])|\s(?i:dot)\s")
_EMAIL = re.compile(
    rf"(?i)(?<![\w.+%-])[\w.+%-]{{1,64}}{_AT}(?:[\w-]{{1,63}}{_DOT}){{1,8}}[^\W\d_]{{2,24}}(?![\w-])"
)
_MAY_BE_NUMBER = re.compile(r"\d(?:[\s().\-/\u2010-\u2015]{0,3}\d){6}")
_IBAN = re.compile(r"(?<!\w)[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}(?!\w)")
_CARD = re.compile(r"(?<!\d)[0-9](?:[ -]?[0-9]){12,18}(?!\d)")

# A capital or a letter beyond ASCII, of which an expression cannot say whether it is one.
_CAPITAL = r"[^\W\d_a-z]"
_REST = r"(?:[^\W\d_]|['\u2019](?=[^\W\d_]))+"
_NAME = rf"(?:{_CAPITAL}{_REST}(?:-{_CAPITAL}{_REST})?|{_CAPITAL}\.)"
_FULL_NAME = re.compile(rf"{_NAME}(?:\s+{_NAME}){{0,2}}")
_CAPITALISED = re.compile(rf"{_CAPITAL}(?<!\w.){_REST}")
_WORD = re.compile(rf"[^\W\d_](?<![\w\[].){_REST}")
_CUE = re.compile(
    r"(?<!\w)(?:"
    r"(?P<sure>my\s+name(?:\s+is|'s)|(?:mrs?|ms|dr|prof)\.?|herr|frau)"
    r"|(?P<closing>(?:thanks|thank\s+you|regards|sincerely|cheers|love|best|xoxo|signed),?)"
    r"|(?P<likely>i'm|i\s+am|this\s+is|call\s+me|ask\s+for|named|called|miss)"
    r")\s*[-\u2013\u2014~]?\s*$"
)
_LONGEST_CUE = 20
_TYPED_NAME = re.compile(r"(?<!\w)(?i:my\s+name(?:\s+is|['\u2019]s)|mrs?\.?)\s+([a-z]+)")


class Masked(NamedTuple):
    """A text without what was found in it, and how often each kind was; kinds not found are not."""

    text: str
    finds: Mapping[str, int]


class Masker:
    """Masks texts; one for all of them, from any thread. What is masked stays as it is.

    Known words are the model folder's (`records.known_words`); without them names are found by cues
    alone. `strict` takes any rare word for a name, also in lower case: it loses a word in sixty,
    and finds names that are typed without capitals.
    """

    def __init__(self, known_words: Set[str] | None, strict: bool = False) -> None:
        """Take the list."""
        self._known = known_words
        self._strict = strict

    def mask(self, text: str) -> Masked:
        """The text with `[KIND]` in the place of each find."""
        finds: Counter[str] = Counter()
        before = -1
        while finds.total() > before:  # What is left of a find may be one by itself.
            before = finds.total()
            text = self._masked(text, finds)
        return Masked(text, finds)

    def _masked(self, text: str, finds: Counter[str]) -> str:
        """The text after one look for each kind; counts what was found."""
        if _MAY_BE_EMAIL.search(text):
            text = _replaced(text, "email", (find.span() for find in _EMAIL.finditer(text)), finds)
        if _MAY_BE_NUMBER.search(text):
            text = _replaced(text, "iban", _checked(text, _IBAN, _is_iban), finds)
            text = _replaced(text, "card", _checked(text, _CARD, _is_card), finds)
            text = _replaced(text, "phone", _phones(text), finds)
        return _replaced(text, "name", self._names(text), finds)

    def _names(self, text: str) -> Iterator[Span]:
        """Capitalised words that are announced as names or rare; others where they are typed so."""
        at = 0
        while find := _CAPITALISED.search(text, at):
            start, at = find.span()
            if not find.group()[0].isupper():
                continue
            announced = self._is_announced(text, start, at)
            if announced and (whole := _FULL_NAME.match(text, start)):
                at = whole.end()
            if announced or self._is_rare(find.group()):
                yield start, at
        if "name" in text or "mr" in text:
            for find in _TYPED_NAME.finditer(text):
                if self._is_rare(find[1]):
                    yield find.span(1)
        if self._strict:
            for find in _WORD.finditer(text):
                if self._is_rare(find.group()):
                    yield find.span()

    def _is_announced(self, text: str, start: int, end: int) -> bool:
        """Whether the words before a capitalised one say that it is a name."""
        before = text[max(0, start - _LONGEST_CUE) : start].lower().replace("\u2019", "'")
        cue = before and _CUE.search(before)
        if not cue:
            return False
        if cue["likely"]:
            return self._known is None or self._is_rare(text[start:end])
        return bool(cue["sure"]) or _ends_soon(text, start)

    def _is_rare(self, word: str) -> bool:
        """Whether a word, or a part of it, is not in the list."""
        if self._known is None:
            return False
        known = self._known
        parts = (part.removesuffix("'s") for part in words_of(word.lower()))
        return any(part not in known for part in parts)


def _replaced(text: str, kind: str, spans: Iterable[Span], finds: Counter[str]) -> str:
    """The text with the kind in the place of each span; of those that overlap, of the first."""
    parts, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += [text[end:start], f"[{kind}]"]
            end = stop
            finds[kind] += 1
    return "".join([*parts, text[end:]]) if parts else text


def _checked(
    text: str, pattern: re.Pattern[str], is_valid: Callable[[str], bool]
) -> Iterator[Span]:
    """Where numbers with check digits are; what follows one in the same form is left out."""
    at = 0
    while found := pattern.search(text, at):
        at = found.start() + 1
        candidate = found.group()
        ends = [part.end() for part in re.finditer(r"[A-Za-z0-9]+", candidate)]
        for end in reversed(ends):
            if is_valid(candidate[:end]):
                yield found.start(), found.start() + end
                at = found.start() + end
                break


def _is_iban(text: str) -> bool:
    """Whether an IBAN's check digits are right (ISO 13616)."""
    characters = [char for char in text.upper() if char.isalnum()]
    moved = characters[4:] + characters[:4]
    return 15 <= len(moved) <= 34 and int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def _is_card(text: str) -> bool:
    """Whether a card number's check digit is right (Luhn)."""
    digits = [int(char) for char in reversed(text) if char.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return 13 <= len(digits) <= 19 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _phones(text: str) -> Iterator[Span]:
    """Where phone numbers are."""
    # Loaded at the first text with seven digits: most processes never see one.
    from phonenumbers import Leniency, PhoneNumberMatcher

    wanted = {_HOME: Leniency.POSSIBLE} | dict.fromkeys(_ABROAD, Leniency.VALID)
    for region, leniency in wanted.items():
        for find in PhoneNumberMatcher(text, region, leniency=leniency):
            yield find.start, find.end


def _ends_soon(text: str, start: int) -> bool:
    """Whether nothing but a name is left of the text: it is signed."""
    whole = _FULL_NAME.match(text, start)
    return whole is not None and not text[whole.end() :].strip(" .!")
