"""Read a training set from the feature store: a spine of reviews, joined as of a time."""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from components.features.history import Known, settle_labels, tokens_of
from components.features.publish import show_spine
from components.features.tokenise import check_tokens
from components.features.views import (
    SPINE_COLUMNS,
    check_time,
    connection,
    files_of,
    handed_out,
    parquet,
)
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_store, training_sets_dir
from components.shared.machine.files import sha256_of_file, write_parquet
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import SPLITS, TRAINING_SET_SCHEMA

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from feast import FeatureService, FeatureStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrievalSummary:
    """What was retrieved."""

    rows: int  # reviews
    rows_per_split: dict[str, int]  # reviews of each split
    as_of: str  # the time up to which labels count, ISO 8601
    corrected: int  # reviews with a label that people gave later than the data were prepared
    left_out: int  # reviews of training and validation of which no label was known by then
    sha256: str  # digest of the written file
    join_seconds: float  # duration of Feast's join alone
    seconds: float  # duration of everything but opening the store


def retrieve_training_set(
    prepared: Path, feature_service: str, training_set: Path, as_of: str = ""
) -> RetrievalSummary:
    """Join each prepared review with its features, and with its label as of a time.

    Reviews of training and validation get the label that people gave up to `as_of`, or the prepared
    one; test reviews get the prepared one, as known when they were written, whatever people said
    since. `training_set` is the Parquet file to write, in `TRAINING_SET_SCHEMA`, sorted by
    `review_id`. The same spine as of the same time gives the same file, also when the store has
    learned more. `as_of` is a time in ISO 8601; empty is now.

    Raises:
        UserError: If the service is not registered or of other data, if its features are
            incomplete, or if no label was known by that time.
    """
    from feast.errors import FeastObjectNotFoundException

    labels = labels_of_file(prepared)
    with connection() as opened:
        show_spine(opened, prepared)
        store = open_store()
        try:
            service = store.get_feature_service(feature_service)
        except FeastObjectNotFoundException:
            raise UserError(
                f"feature service {feature_service} is not registered; run build_features first"
            ) from None
        if service.tags.get("labels") != str(labels):
            raise UserError(
                f"feature service {feature_service} was made from other data (its classes are "
                f"{service.tags.get('labels')}); build the features of this data"
            )
        started = time.perf_counter()
        spine, known_at = _spine(opened, service.tags["labels_view"], as_of)
        retrieved = _join(store, service, spine)
        joined = time.perf_counter()
        settled = settle_labels(opened, service.tags["labels_view"], spine, retrieved)
        _check_some_are_left(settled, known_at, opened)
        ids, n_tokens = tokens_of(
            opened, service.tags["tokens_view"], settled.spine, settled.joined
        )
    columns = settled.columns() | {"input_ids": ids, "n_tokens": n_tokens}
    table = pa.table({name: columns[name] for name in TRAINING_SET_SCHEMA.names})
    table = table.cast(labels.on(TRAINING_SET_SCHEMA))
    check_tokens(
        table,
        vocab_size=int(service.tags["vocab_size"]),
        max_tokens=int(service.tags["max_tokens"]),
        source=feature_service,
    )
    write_parquet(training_set, table)
    handed_out(min(known_at, datetime.now(UTC)))
    digest = sha256_of_file(training_set)
    remembered = training_sets_dir() / f"{digest[:20]}.parquet"
    if not remembered.is_file():
        write_parquet(remembered, table.select([*SPINE_COLUMNS, "weight"]))
    done = time.perf_counter()
    splits = table["split"].to_pylist()
    result = RetrievalSummary(
        rows=table.num_rows,
        rows_per_split={split: splits.count(split) for split in SPLITS},
        as_of=known_at.isoformat(),
        corrected=settled.corrected,
        left_out=settled.left_out,
        sha256=digest,
        join_seconds=round(joined - started, 3),
        seconds=round(done - started, 3),
    )
    logger.info(
        "Retrieved %d reviews through %s as of %s in %.2f s: %d with a label that people gave "
        "later, %d left out whose label was not known by then",
        *(result.rows, feature_service, result.as_of, result.seconds),
        *(result.corrected, result.left_out),
    )
    return result


def _spine(opened: "DuckDBPyConnection", labels_view: str, as_of: str) -> tuple[pa.Table, datetime]:
    """The prepared reviews without their texts, by id, each with the time that it is asked for."""
    now = datetime.now(UTC)
    known_at = check_time(as_of, "as_of") if as_of else now
    if known_at > now:
        raise UserError(
            f"as_of {as_of} is in the future, whose labels nobody knows; leave it empty for now"
        )
    if not as_of:
        # Reviews may be dated ahead, and the clock of the step before may be.
        newest = "SELECT max(event_timestamp) FROM spine"
        if files := files_of(labels_view):
            newest += f""" UNION ALL SELECT max(event_timestamp) FROM {parquet(*files)}
                SEMI JOIN spine USING (review_id)"""  # noqa: S608
        known_at = max(known_at, *(one for (one,) in opened.sql(newest).fetchall() if one))
    opened.execute("SET VARIABLE known_at = ?", [known_at])
    query = """
        SELECT review_id, text_digest, split, sentiment, rating, product_category, label_source,
          label_probability, weight, copies,
          CASE WHEN split = 'test' THEN event_timestamp ELSE getvariable('known_at') END AS asked_at
        FROM spine ORDER BY review_id
        """
    return opened.sql(query).to_arrow_table(), known_at.astimezone(UTC)


def _join(store: "FeatureStore", service: "FeatureService", spine: pa.Table) -> pa.Table:
    """Feast's point-in-time join of a spine, in its order."""
    import duckdb

    entities = spine.select(["review_id", "asked_at"]).to_pandas()
    entities.columns = ["review_id", "event_timestamp"]
    entities["event_timestamp"] = entities["event_timestamp"].astype("datetime64[us, UTC]")
    try:
        retrieved = store.get_historical_features(entity_df=entities, features=service).to_arrow()
    except (OSError, duckdb.Error) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the files of feature service {service.name} cannot be read ({reason}); "
            "build the features again"
        ) from None
    return retrieved.drop_columns(["event_timestamp"]).sort_by("review_id")


def _check_some_are_left(settled: Known, as_of: datetime, opened: "DuckDBPyConnection") -> None:
    """Raise `UserError` where no label of a split was known by then."""
    left = set(settled.spine["split"].unique().to_pylist())
    there = {split for (split,) in opened.sql("SELECT DISTINCT split FROM spine").fetchall()}
    if gone := sorted(there - left):
        first = opened.sql("SELECT min(event_timestamp) FROM spine").fetchall()[0][0]
        raise UserError(
            f"as of {as_of.isoformat()} no label of the {' and '.join(gone)} reviews was known; "
            f"the first review was written on {first:%Y-%m-%d}: choose a later as_of"
        )
