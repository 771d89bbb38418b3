"""Labels that people agreed on go into the feature store, where they count from then on."""

import dataclasses
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from components.features.additions import add_texts, add_tokens
from components.features.online import CHECKED
from components.features.publish import register_and_copy
from components.features.tokenise import ReviewTokenizer
from components.features.views import (
    LABELS_SCHEMA,
    Added,
    add,
    adding,
    connection,
    copy_to,
    digest,
    moment,
    newest_as_of,
    remember,
    show,
)
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import data_dir
from components.shared.machine.files import read_parquet, write_json
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.resolved_labels import resolved_labels_schema
from components.shared.records.text import clean_text
from feature_repo.definitions import TEXT_VIEW, TOKENS_VIEW, labels_view, service_name, views_in

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CorrectionsSummary:
    """What became of resolved labels."""

    resolved: int  # rows that were read
    added: int  # labels that the store did not know yet
    new_reviews: int  # reviews that it did not know yet: their texts were added
    tokenised: int  # of them, those whose tokens were added
    feature_service: str  # the service that reads the labels with the newest tokenizer; may be ''
    seconds: float


def add_resolved_labels(resolved: str | Path, summary: Path | None = None) -> CorrectionsSummary:
    """Add resolved labels, and the texts and tokens of reviews that the store does not know.

    A label belongs to the newest text that the store knew of its review when people agreed. It
    counts from its `event_timestamp` on, and at the earliest after what the data say; but where a
    training set was retrieved as of a later time, from now on, so that this one can be retrieved
    again. Labels that people took back give way to those of the data. What was added before is not
    added again.

    Args:
        resolved: A Parquet file of resolved labels, or a folder of such files; empty adds nothing.
        summary: JSON file for what was added.

    Raises:
        UserError: If the place or a file cannot be read, or a label is of none of its classes.
    """
    started = time.perf_counter()
    rows = added = new_reviews = tokenised = 0
    service = ""
    for labels, table in _read(resolved).items():
        done = _add(labels, table)
        rows, added = rows + done.resolved, added + done.added
        new_reviews, tokenised = new_reviews + done.new_reviews, tokenised + done.tokenised
        service = done.feature_service
    result = CorrectionsSummary(
        rows, added, new_reviews, tokenised, service, round(time.perf_counter() - started, 3)
    )
    if summary:
        write_json(summary, dataclasses.asdict(result))
    logger.info(
        "%d of %d resolved labels are new to the feature store, and %d of their reviews",
        *(added, rows, new_reviews),
    )
    return result


def _read(resolved: str | Path) -> dict[LabelSet, pa.Table]:
    """The resolved labels at a place, by label set; all of them, also those that were replaced."""
    if not str(resolved):
        return {}
    parts = urlsplit(str(resolved))
    if parts.scheme not in ("", "file"):
        raise UserError(f"{resolved} is not on this machine; copy the resolved labels to a folder")
    place = Path(parts.path)
    if not place.exists():
        raise UserError(f"{place} does not exist; run the review first")
    found: dict[LabelSet, list[pa.Table]] = {}
    for file in sorted(place.glob("*.parquet")) if place.is_dir() else [place]:
        labels = labels_of_file(file)
        table = read_parquet(file, resolved_labels_schema(labels))
        wrong = sorted(set(table["sentiment"].unique().to_pylist()) - set(labels.values))
        if wrong:
            raise UserError(
                f"{file} has the sentiment {wrong[0]}, which is not one of "
                f"{', '.join(map(str, labels.values))}; resolve the votes again"
            )
        found.setdefault(labels, []).append(_cleaned(table))
    return {labels: pa.concat_tables(tables) for labels, tables in found.items()}


def _add(labels: LabelSet, resolved: pa.Table) -> CorrectionsSummary:
    """Add the resolved labels of one label set."""
    now, view = datetime.now(UTC), labels_view(str(labels))
    with connection() as opened:
        opened.register("resolved", resolved)
        _show_spine(opened)
        texts = add_texts(opened, now)
        newest = [one for one in views_in(data_dir()) if one.name.startswith(TOKENS_VIEW)][-1:]
        tokenizer = _tokenizer(newest[0].facts) if newest else None
        tokenised = add_tokens(opened, tokenizer, now)[0].rows if tokenizer else 0
        added = _add_labels(opened, view, str(labels), now)
        service = service_name(newest[0].name, view) if newest else ""
        # Also where nothing is new: a run may have been killed before it came to this.
        if service:
            ids = "SELECT DISTINCT review_id FROM resolved"
            query = f"SELECT review_id FROM ({ids}) ORDER BY md5(review_id) LIMIT {CHECKED}"  # noqa: S608
            register_and_copy(service, [one for (one,) in opened.sql(query).fetchall()])
    return CorrectionsSummary(resolved.num_rows, added.rows, texts.rows, tokenised, service, 0.0)


def _cleaned(resolved: pa.Table) -> pa.Table:
    """Resolved rows that have a text, cleaned as prepare does it: or else it would be another."""
    for name in ("title", "review_body"):
        texts = [clean_text(text or "") or None for text in resolved[name].to_pylist()]
        place = resolved.schema.get_field_index(name)
        resolved = resolved.set_column(place, name, pa.array(texts, pa.string()))
    return resolved.filter(pc.is_valid(resolved["review_body"]))


def _show_spine(opened: "DuckDBPyConnection") -> None:
    """Show DuckDB `labelled`, resolved rows with their texts' digests, and `spine`, the new ones.

    The store's own text counts where it knows the review: what people were shown is masked. Of
    several texts of an id it is the newest of those that it knew when people agreed.
    """
    texts = show(opened, TEXT_VIEW)
    opened.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE labelled AS
        SELECT DISTINCT ON (r.review_id, r.event_timestamp, r.votes) r.*,
          coalesce(t.text_digest, {digest("r.")}) AS text_digest,
          t.review_id IS NULL AS unknown
        FROM resolved AS r LEFT JOIN {texts} AS t ON t.review_id = r.review_id
        ORDER BY t.created_timestamp <= r.event_timestamp DESC, t.event_timestamp DESC,
          t.created_timestamp DESC
        """  # noqa: S608 - names of views
    )
    opened.execute(
        """
        CREATE OR REPLACE TEMP TABLE spine AS
        SELECT DISTINCT ON (review_id) * FROM labelled WHERE unknown
        ORDER BY event_timestamp DESC
        """
    )


def _add_labels(opened: "DuckDBPyConnection", view: str, labels: str, now: datetime) -> Added:
    """Add the rows of `labelled` that the store does not know, later than what the data say."""
    asked = moment(newest_as_of())
    remember(view, {"labels": labels})
    with adding(view) as draft:
        known = show(opened, view)
        query = f"""
            WITH data AS (
              SELECT DISTINCT ON (review_id, labelled_text) * FROM {known} WHERE votes IS NULL
              ORDER BY event_timestamp DESC, created_timestamp DESC
            ), ranked AS (
              SELECT *, to_microseconds(
                row_number() OVER (PARTITION BY review_id ORDER BY event_timestamp)
              ) AS turn FROM labelled
            ), timed AS (
              SELECT s.*, d.review_id IS NOT NULL AND s.votes = 0 AS taken_back,
                d.sentiment AS d_sentiment, d.rating AS d_rating, d.label_source AS d_source,
                d.label_probability AS d_probability, d.weight AS d_weight,
                greatest(s.event_timestamp, d.event_timestamp + s.turn) AS at,
                greatest({moment(now)}, {asked}) + s.turn AS late
              FROM ranked AS s LEFT JOIN data AS d
                ON d.review_id = s.review_id AND d.labelled_text = s.text_digest
            )
            SELECT s.review_id, if(s.at > {asked}, s.at, s.late) AS event_timestamp,
              {moment(now)} AS created_timestamp,
              if(taken_back, d_sentiment, s.sentiment) AS sentiment,
              if(taken_back, d_rating, NULL) AS rating,
              if(taken_back, d_source, s.label_source) AS label_source,
              if(taken_back, d_probability, s.label_probability) AS label_probability,
              s.votes, s.agreement,
              if(taken_back, d_weight, s.weight) AS weight,
              s.text_digest AS labelled_text, s.event_timestamp AS resolved_timestamp
            FROM timed AS s
            ANTI JOIN {known} AS l ON l.review_id = s.review_id AND l.votes = s.votes
              AND l.resolved_timestamp = s.event_timestamp
            """  # noqa: S608 - the name of a view
        copy_to(draft, opened, query, LABELS_SCHEMA)
        return add(view, draft)


def _tokenizer(facts: dict[str, str]) -> ReviewTokenizer | None:
    """The tokenizer of a view; None where its base model is gone or became another."""
    try:
        tokenizer = ReviewTokenizer(facts["base_model"], int(facts["max_tokens"]))
    except UserError as error:
        logger.warning("build_features has to tokenise the new reviews: %s", error)
        return None
    if tokenizer.fingerprint != facts["tokenizer_fingerprint"]:
        logger.warning("build_features has to tokenise the new reviews: their tokenizer changed")
        return None
    return tokenizer
