"""Publish features: what is new of the reviews goes into the store, offline and online."""

import dataclasses
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from components.features.additions import (
    SPINE_LABEL,
    SPINE_TEXT,
    add_labels,
    add_texts,
    add_tokens,
)
from components.features.online import CHECKED, copy_online
from components.features.tokenise import ReviewTokenizer, open_reviews
from components.features.views import TOKENS_SCHEMA, connection, copy_to, digest, parquet, show
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import (
    apply_objects,
    data_dir,
    open_store,
    store_dir,
)
from components.shared.machine.files import locked, replaced_when_whole, write_json
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import PREPARED_SCHEMA
from feature_repo.definitions import (
    TEXT_VIEW,
    feature_objects,
    labels_view,
    service_name,
    tokens_view,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger(__name__)

_FEATURES_SCHEMA = pa.schema(
    [field for field in TOKENS_SCHEMA if field.name not in ("created_timestamp", "tokenised_text")]
)


@dataclass(frozen=True)
class FeatureSummary:
    """What was published."""

    feature_service: str  # name under which training reads it
    tokenizer_fingerprint: str  # SHA-256 of what decides the token ids
    data_fingerprint: str
    base_model: str
    max_tokens: int
    vocab_size: int  # token ids are below this
    rows: int  # reviews
    mean_tokens: float  # mean length, special tokens included
    truncated: int  # reviews longer than `max_tokens`
    new_texts: int  # of them, those whose text or category the store did not know
    new_labels: int  # those whose label it did not know
    tokenised: int  # those of which it had no tokens by this tokenizer
    other_texts: int  # those whose ids stand for another text as well
    checked_online: int  # reviews whose online features were compared with the offline ones
    reused: bool  # whether the store knew everything already
    tokenise_seconds: float  # duration of tokenisation in this run
    materialise_seconds: float  # duration of the copy to the online store in this run
    seconds: float  # duration of this run


def build_features(
    prepared: Path,
    base_model: str,
    max_tokens: int,
    data_fingerprint: str,
    features: Path,
    summary: Path,
) -> FeatureSummary:
    """Add to the feature store what it does not know yet of prepared reviews.

    Can be run again after a kill at any point, and while other runs do. The token ids of these
    reviews are written to the Parquet file `features`, the summary to a JSON file. Special tokens
    count among the `max_tokens` of a review.

    Raises:
        UserError: If the prepared file, the base model or the store is unusable.
    """
    started = time.perf_counter()
    labels = str(labels_of_file(prepared))
    tokenizer = ReviewTokenizer(base_model, max_tokens)
    tokens = tokens_view(tokenizer.fingerprint)
    service = service_name(tokens, labels_view(labels))
    now = datetime.now(UTC)
    with connection() as opened:
        rows = show_spine(opened, prepared)
        texts = add_texts(opened, now)
        known = add_labels(opened, labels, now)
        added, counts = add_tokens(opened, tokenizer, now)
        other_texts = _other_texts(opened)
        seconds = register_and_copy(service, _some_ids(opened))
        facts = _write_features(opened, tokens, features)
    if facts[0] != rows:
        raise UserError(
            f"{data_dir() / tokens} lacks tokens of {rows - facts[0]} reviews; run again"
        )
    if other_texts:
        logger.warning(
            "the ids of %d reviews stand for other texts in the feature store too; look-ups by id "
            "find the newest text",
            other_texts,
        )
    result = FeatureSummary(
        feature_service=service,
        tokenizer_fingerprint=tokenizer.fingerprint,
        data_fingerprint=data_fingerprint,
        base_model=base_model,
        max_tokens=max_tokens,
        vocab_size=tokenizer.vocab_size,
        rows=rows,
        mean_tokens=round(facts[1], 3),
        truncated=facts[2],
        new_texts=texts.rows,
        new_labels=known.rows,
        tokenised=added.rows,
        other_texts=other_texts,
        checked_online=min(rows, CHECKED),
        reused=not (texts.rows or known.rows or added.rows),
        tokenise_seconds=round(counts.seconds, 3) if counts else 0.0,
        materialise_seconds=round(seconds, 3),
        seconds=round(time.perf_counter() - started, 3),
    )
    write_json(summary, dataclasses.asdict(result))
    logger.info("%d reviews are in the store, %d newly; %s reads them", rows, texts.rows, service)
    return result


def register_and_copy(service: str, review_ids: list[str]) -> float:
    """Register what the folders hold and copy what is new online; the seconds of the copy."""
    with locked(store_dir() / ".writing.lock"):
        store = open_store()
        apply_objects(store, feature_objects(data_dir(), store.config.offline_store.type))
        return copy_online(store, service, review_ids)[1]


def show_spine(opened: "DuckDBPyConnection", prepared: Path) -> int:
    """Make prepared reviews known to DuckDB as `spine`, checked; returns their number.

    Raises:
        UserError: If the file is missing, lacks a column or a value, or holds an id twice.
    """
    with open_reviews(prepared) as source:
        names, rows = source.schema_arrow.names, source.metadata.num_rows
    wanted = [*SPINE_TEXT, *SPINE_LABEL, "split", "copies"]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise UserError(f"{prepared} has no column {', '.join(missing)}; run prepare again")
    if not rows:
        raise UserError(f"{prepared} holds no reviews; give ingest more data")
    columns = ", ".join(wanted)
    opened.execute(
        f"CREATE OR REPLACE TEMP VIEW spine AS SELECT {columns}, {digest()} AS text_digest "  # noqa: S608
        f"FROM {parquet(prepared)}"
    )
    required = [name for name in wanted if not PREPARED_SCHEMA.field(name).nullable]
    nulls = ", ".join(f"count(*) - count({name})" for name in [*required, "sentiment"])
    counts = opened.sql(f"SELECT {nulls} FROM spine").fetchall()[0]  # noqa: S608
    for name, count in zip([*required, "sentiment"], counts, strict=True):
        if count:
            raise UserError(f"{prepared} has rows without {name}; run prepare again")
    twice = "SELECT review_id FROM spine GROUP BY review_id HAVING count(*) > 1 LIMIT 1"
    for (review_id,) in opened.sql(twice).fetchall():
        raise UserError(f"{prepared} has review_id {review_id} twice; run prepare again")
    return rows


def _other_texts(opened: "DuckDBPyConnection") -> int:
    """How many reviews of the spine have an id under which the store knows another text."""
    texts = show(opened, TEXT_VIEW)
    query = f"""SELECT count(DISTINCT s.review_id) FROM spine AS s
        JOIN {texts} AS t ON t.review_id = s.review_id AND t.text_digest <> s.text_digest"""  # noqa: S608
    return int(opened.sql(query).fetchall()[0][0])


def _some_ids(opened: "DuckDBPyConnection") -> list[str]:
    """Ids of reviews spread over the spine as their hashes fall: the same ones each time."""
    query = f"SELECT review_id FROM spine ORDER BY md5(review_id) LIMIT {CHECKED}"  # noqa: S608
    return [review_id for (review_id,) in opened.sql(query).fetchall()]


def _write_features(
    opened: "DuckDBPyConnection", view: str, features: Path
) -> tuple[int, float, int]:
    """Write the tokens of the spine's reviews to a file; returns reviews, mean length, cut ones."""
    query = f"""SELECT t.* FROM {show(opened, view)} AS t
        SEMI JOIN spine AS s ON s.review_id = t.review_id AND s.text_digest = t.tokenised_text"""  # noqa: S608
    with replaced_when_whole(features) as draft:
        copy_to(draft, opened, query, _FEATURES_SCHEMA)
        figures = "count(*), avg(n_tokens), count(*) FILTER (truncated)"
        return opened.sql(f"SELECT {figures} FROM {parquet(draft)}").fetchall()[0]  # noqa: S608
