"""Five numbers of a text that say how it is written, so that drift is seen without the text.

The payload log, the reference in the model folder and batch scoring compute them by this code.
"""

from collections.abc import Sequence, Set
from typing import NamedTuple

import pyarrow as pa

from components.shared.records.known_words import words_of

TEXT_STATISTICS: tuple[pa.Field, ...] = (
    pa.field("n_words", pa.int32()),
    pa.field("unknown_share", pa.float32()),
    pa.field("function_word_share", pa.float32()),
    pa.field("non_ascii_share", pa.float32()),
    pa.field("distinct_share", pa.float32()),
)
"""The columns: number of words; of the words, the share that is not in the list of known words, the
share of English function words, and the share that is left when each is counted once; of the
characters, the share outside ASCII. Null where there is no text, or nothing to take a share of."""

# Articles, pronouns, prepositions, conjunctions, auxiliaries and what stands between them.
_FUNCTION_WORDS = """
    a an the this that these those each every either neither some any all both such no
    i me my mine myself you your yours yourself he him his himself she her hers herself it its
    itself we us our ours ourselves they them their theirs themselves who whom whose which what
    about above across after against along among around as at before behind below beside between
    beyond by despite down during except for from in inside into like near of off on onto out
    outside over past per since than through to toward towards under until up upon via with within
    without and but or nor so yet if because although though while whereas whether unless when
    where why how there here then
    am is are was were be been being have has had having do does did doing will would shall should
    can could may might must not only just too very also again even still
    i'm i've i'd i'll it's that's don't didn't doesn't wasn't isn't aren't weren't can't couldn't
    won't wouldn't shouldn't haven't hasn't hadn't you're you'll they're we're there's
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


class TextStatistics(NamedTuple):
    """The numbers of one text, in the order of `TEXT_STATISTICS`."""

    n_words: int | None
    unknown_share: float | None
    function_word_share: float | None
    non_ascii_share: float | None
    distinct_share: float | None


NO_TEXT = TextStatistics(None, None, None, None, None)


def statistics_of(text: str, known: Set[str] | None) -> TextStatistics:
    """The numbers of a text; `unknown_share` is None where there is no list of known words."""
    words = words_of(text.lower())
    characters, count = len(text), len(words)
    ascii_characters = characters if text.isascii() else len(text.encode("ascii", "ignore"))
    non_ascii = (characters - ascii_characters) / characters if characters else None
    if not count:
        return TextStatistics(0, None, None, non_ascii, None)
    unknown = None if known is None else 1 - sum(map(known.__contains__, words)) / count
    function_words = sum(map(FUNCTION_WORDS.__contains__, words)) / count
    return TextStatistics(count, unknown, function_words, non_ascii, len(set(words)) / count)


def text_statistics(texts: Sequence[str | None], known: Set[str] | None) -> dict[str, pa.Array]:
    """The columns of `TEXT_STATISTICS` for texts made by `records.text.model_text`.

    Args:
        texts: The texts; None where there is none, as for a review that was asked for by its key.
        known: The model folder's list (`read_known_words`); None where it has none.
    """
    rows = [NO_TEXT if text is None else statistics_of(text, known) for text in texts]
    return columns_of(rows)


def columns_of(rows: Sequence[TextStatistics]) -> dict[str, pa.Array]:
    """The numbers of several texts as the columns of `TEXT_STATISTICS`."""
    columns = zip(*rows, strict=True) if rows else [[]] * len(TEXT_STATISTICS)
    return {
        field.name: pa.array(column, field.type)
        for field, column in zip(TEXT_STATISTICS, columns, strict=True)
    }
