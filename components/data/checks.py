"""What a valid review must satisfy: a pandera schema over its fields as text."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from components.data.headers import FIELDS
from components.shared.records.labels import STARS, LabelSet
from components.shared.records.reviews import REVIEW_SCHEMA
from components.shared.records.text import MAX_MARKS, has_too_many_marks

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera

MAX_BODY_CHARACTERS = 100_000
"""Longer texts are not reviews. The model reads a few hundred tokens of any."""

MAX_FIELD_CHARACTERS = 1_000
"""Of every other text: title, category, id."""

EMPTY_BODY = "review text is empty"
LONG_BODY = f"review text is longer than {MAX_BODY_CHARACTERS:,} characters"
LONG_FIELD = f"{{}} is longer than {MAX_FIELD_CHARACTERS:,} characters"
TOO_MANY_MARKS = f"a text has more than {MAX_MARKS} combining marks in a row"
BAD_RATING = "rating is not a whole number from 1 to 5"
BAD_SENTIMENT = "sentiment is not {}"
CONTRADICTION = "rating contradicts the given sentiment"
BAD_AGE = "age is not a whole number from 0 to 150"
BAD_RECOMMENDED = "recommended is not 0 or 1"
BAD_COUNT = "positive feedback count is not a whole number"
BAD_TIMESTAMP = "event timestamp is not an ISO 8601 date or time"

_SHORT = tuple(
    field.name
    for field in REVIEW_SCHEMA
    if field.type == pa.string() and field.name != "review_body"
)
_ORDER = (
    *(
        EMPTY_BODY,
        LONG_BODY,
        *map(LONG_FIELD.format, _SHORT),
        TOO_MANY_MARKS,
        BAD_RATING,
        BAD_SENTIMENT,
        CONTRADICTION,
    ),
    *(BAD_AGE, BAD_RECOMMENDED, BAD_COUNT, BAD_TIMESTAMP),
)
_VISIBLE = r"[^\s\p{Z}\p{C}]"
_WHOLE = r"[+-]?[0-9]{1,15}(\.0*)?"
_TRUTH = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}


def as_text(columns: dict[str, pa.Array], rows: int) -> pa.Table:
    """All fields as text [rows]: trimmed, with LF line ends; blank ones and missing fields null."""
    nothing = pa.scalar(None, pa.string())
    made = {}
    for name in FIELDS:
        if name not in columns:
            made[name] = pa.nulls(rows, pa.string())
            continue
        text = pc.replace_substring(columns[name], "\r\n", "\n")
        text = pc.utf8_trim_whitespace(pc.replace_substring(text, "\r", "\n"))
        made[name] = pc.if_else(pc.match_substring_regex(text, _VISIBLE), text, nothing)
    return pa.table(made)


def reasons_against(text: pa.Table, labels: LabelSet) -> dict[int, str]:
    """First reason, in the order of `_ORDER`, by position of each row that fails a check."""
    import pandas as pd
    import pandera.pandas as pandera

    frame = text.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
    try:
        _schema(labels).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        words = cases["check"].where(cases["check"] != "not_nullable", EMPTY_BODY)
        rank = {reason.format(labels.expected): place for place, reason in enumerate(_ORDER)}
        reasons: dict[int, str] = {}
        for row, reason in zip(cases["index"].astype(int), words, strict=True):
            if row not in reasons or rank[reason] < rank[reasons[row]]:
                reasons[row] = reason
        return reasons
    return {}


def as_record(text: pa.Table, labels: LabelSet) -> dict[str, pa.Array]:
    """Typed columns of the review record from rows of `as_text` without a reason against them.

    `sentiment` follows from `rating` where it is not given; `review_id` and `event_timestamp` may
    be null.
    """
    made: dict[str, pa.Array] = {}
    for name in FIELDS:
        column = text[name].combine_chunks()
        kind = REVIEW_SCHEMA.field(name).type
        if name in ("rating", "age", "positive_feedback_count"):
            made[name] = column.cast(pa.float64()).cast(kind)
        elif name in ("recommended", "sentiment"):
            table = _TRUTH if name == "recommended" else labels.words
            made[name] = _looked_up(pc.utf8_lower(column), table).cast(kind)
        elif name == "event_timestamp":
            times = _timestamps(column.to_pandas())
            made[name] = pa.Array.from_pandas(times.dt.as_unit("us"), type=kind)
        else:
            made[name] = column
    from_rating = _looked_up(
        made["rating"].cast(pa.string()),
        {str(stars): value for stars, value in labels.of_rating.items()},
    )
    made["sentiment"] = pc.coalesce(made["sentiment"], from_rating.cast(pa.int32()))
    return made


@lru_cache(maxsize=1)
def _schema(labels: LabelSet) -> "pandera.DataFrameSchema":
    """The schema; the error of each check is the reason."""
    import pandera.pandas as pandera

    def whole(low: int, high: int, words: str) -> "pandera.Column":
        def within(values: "pd.Series") -> "pd.Series":
            shaped = values.str.fullmatch(_WHOLE)
            return shaped & values.where(shaped, str(low)).astype("float64").between(low, high)

        return optional(within, words)

    def one_of(table: dict[str, int], words: str) -> "pandera.Column":
        return optional(lambda values: values.str.lower().isin(list(table)), words)

    def optional(check: "Callable[[pd.Series], pd.Series]", words: str) -> "pandera.Column":
        return pandera.Column(nullable=True, checks=pandera.Check(check, error=words))

    def text(most: int, words: str, nullable: bool = True) -> "pandera.Column":
        within = pandera.Check(lambda values: values.str.len() <= most, error=words)
        composed = pandera.Check(_can_be_composed, error=TOO_MANY_MARKS)
        cleaned = words in (LONG_BODY, LONG_FIELD.format("title"))
        return pandera.Column(nullable=nullable, checks=[within, composed] if cleaned else within)

    return pandera.DataFrameSchema(
        {
            "review_body": text(MAX_BODY_CHARACTERS, LONG_BODY, nullable=False),
            **{name: text(MAX_FIELD_CHARACTERS, LONG_FIELD.format(name)) for name in _SHORT},
            "rating": whole(STARS[0], STARS[-1], BAD_RATING),
            "sentiment": one_of(labels.words, BAD_SENTIMENT.format(labels.expected)),
            "age": whole(0, 150, BAD_AGE),
            "recommended": one_of(_TRUTH, BAD_RECOMMENDED),
            "positive_feedback_count": whole(0, 2**31 - 1, BAD_COUNT),
            "event_timestamp": optional(lambda values: _timestamps(values).notna(), BAD_TIMESTAMP),
        },
        checks=pandera.Check(partial(_agrees, labels), error=CONTRADICTION, ignore_na=False),
    )


def _can_be_composed(values: "pd.Series") -> "pd.Series":
    """Whether each text can be brought into its composed form in little time."""
    import pandas as pd

    able = [not has_too_many_marks(text) for text in values.astype(object)]
    return pd.Series(able, index=values.index, dtype=bool)


def _agrees(labels: LabelSet, frame: "pd.DataFrame") -> "pd.Series":
    """Whether rating and sentiment say the same, or one of them is missing or malformed."""
    import pandas as pd

    given = frame["sentiment"].str.lower().map(labels.words)
    if given.isna().all():
        return pd.Series(True, index=frame.index)
    stars = pd.to_numeric(frame["rating"].astype(object), errors="coerce")
    implied = stars.map({float(star): value for star, value in labels.of_rating.items()})
    return given.isna() | implied.isna() | (given.astype(float) == implied)


def _timestamps(values: "pd.Series") -> "pd.Series":
    """UTC times of ISO 8601 texts, NaT for other texts; a time without a zone is in UTC."""
    import pandas as pd

    return pd.to_datetime(values.astype(object), errors="coerce", utc=True, format="ISO8601")


def _looked_up(column: pa.Array, table: dict[str, int]) -> pa.Array:
    """The value of each text of a column in a table; null for a text that is not in it."""
    places = pc.index_in(column, pa.array(list(table), pa.string()), skip_nulls=True)
    return pc.take(pa.array(list(table.values()), pa.int32()), places)
