"""Which rows of some reviews a view does not hold yet, and when they became known.

A review's own facts (its text, its rating) are as old as the review. Whatever the store hears later
of a review that it knows, another text or another label, became known when it was heard; a guess of
labelling functions when it was made. So a time in the past sees what the store knew then. What
people said of a text stands above what any data say of it, before or after.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from components.features.tokenise import ReviewTokenizer, TokenCounts, tokenise_reviews
from components.features.views import (
    LABELS_SCHEMA,
    TEXT_SCHEMA,
    Added,
    add,
    adding,
    copy_to,
    moment,
    remember,
    schema_of,
    show,
)
from components.shared.records.reviews import WEAK
from feature_repo.definitions import TEXT_VIEW, labels_view, tokens_view

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The columns of the table `spine` that the functions below read. Those of labels may lack in it
# where none are added.
SPINE_TEXT = ("review_id", "event_timestamp", "title", "review_body", "product_category")
SPINE_LABEL = ("sentiment", "rating", "label_source", "label_probability", "weight")


def add_texts(opened: "DuckDBPyConnection", now: datetime) -> Added:
    """Add the texts and categories of the reviews in `spine` that the store does not know."""
    with adding(TEXT_VIEW) as draft:
        texts = show(opened, TEXT_VIEW)
        query = f"""
            SELECT s.review_id, {since(now)} AS event_timestamp, {moment(now)} AS created_timestamp,
              s.title, s.review_body, s.product_category, s.text_digest
            FROM spine AS s
            ANTI JOIN {texts} AS t ON t.review_id = s.review_id AND t.text_digest = s.text_digest
              AND t.product_category IS NOT DISTINCT FROM s.product_category
            LEFT JOIN (SELECT DISTINCT review_id FROM {texts}) AS k ON k.review_id = s.review_id
            """  # noqa: S608 - names of views
        copy_to(draft, opened, query, TEXT_SCHEMA)
        return add(TEXT_VIEW, draft)


def add_labels(opened: "DuckDBPyConnection", labels: str, now: datetime) -> Added:
    """Add the labels of the reviews in `spine`, of a label set, that the store does not know.

    A label that data give to a text on which people voted is written below theirs.
    """
    view = labels_view(labels)
    remember(view, {"labels": labels})
    with adding(view) as draft:
        known = show(opened, view)
        query = f"""
            SELECT s.review_id, CASE
                WHEN v.first IS NOT NULL
                  THEN least(greatest(s.event_timestamp, {moment(now)}),
                    v.first - INTERVAL 1 MICROSECOND)
                WHEN s.label_source = '{WEAK}' THEN greatest(s.event_timestamp, {moment(now)})
                ELSE {since(now)}
              END AS event_timestamp,
              {moment(now)} AS created_timestamp,
              {", ".join(f"s.{name}" for name in SPINE_LABEL)},
              CAST(NULL AS INTEGER) AS votes, CAST(NULL AS DOUBLE) AS agreement,
              s.text_digest AS labelled_text, CAST(NULL AS TIMESTAMPTZ) AS resolved_timestamp
            FROM spine AS s
            ANTI JOIN {known} AS l ON {SAME_LABEL}
            LEFT JOIN (SELECT DISTINCT review_id FROM {known}) AS k ON k.review_id = s.review_id
            LEFT JOIN (
              SELECT review_id, labelled_text, min(event_timestamp) AS first
              FROM {known} WHERE votes IS NOT NULL GROUP BY ALL
            ) AS v ON v.review_id = s.review_id AND v.labelled_text = s.text_digest
            """  # noqa: S608 - names of views
        copy_to(draft, opened, query, LABELS_SCHEMA)
        return add(view, draft)


SAME_LABEL = """l.review_id = s.review_id AND l.labelled_text = s.text_digest
              AND l.sentiment = s.sentiment AND l.label_source = s.label_source
              AND l.label_probability = s.label_probability"""
"""SQL: whether a row of a labels view says of a text what `spine` says."""


def add_tokens(
    opened: "DuckDBPyConnection", tokenizer: ReviewTokenizer, now: datetime
) -> tuple[Added, TokenCounts | None]:
    """Tokenise and add the texts in `spine` of which the store has no tokens by this tokenizer."""
    import pyarrow.parquet as pq

    view = tokens_view(tokenizer.fingerprint)
    facts = {
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "base_model": tokenizer.base_model,
        "max_tokens": str(tokenizer.max_tokens),
        "vocab_size": str(tokenizer.vocab_size),
    }
    remember(view, facts)
    with adding(view) as draft:
        known = show(opened, view)
        query = f"""
            SELECT s.review_id, {since(now)} AS event_timestamp, {moment(now)} AS created_timestamp,
              s.title, s.review_body, s.text_digest AS tokenised_text
            FROM spine AS s
            ANTI JOIN {known} AS t
              ON t.review_id = s.review_id AND t.tokenised_text = s.text_digest
            LEFT JOIN (SELECT DISTINCT review_id FROM {known}) AS k ON k.review_id = s.review_id
            """  # noqa: S608 - names of views
        texts, kept = draft.with_name("texts.parquet"), ("created_timestamp", "tokenised_text")
        names = [*SPINE_TEXT[:4], *kept]
        whole = {field.name: field for field in (*TEXT_SCHEMA, *schema_of(view))}
        copy_to(texts, opened, query, pa.schema([whole[name] for name in names]))
        if not pq.read_metadata(texts).num_rows:
            return Added(0, None), None
        counts = tokenise_reviews(texts, tokenizer, draft, kept)
        return add(view, draft), counts


def since(now: datetime) -> str:
    """SQL for when a review's row became known, `k` being the reviews that a view knows."""
    return (
        "CASE WHEN k.review_id IS NULL THEN s.event_timestamp "
        f"ELSE greatest(s.event_timestamp, {moment(now)}) END"
    )
