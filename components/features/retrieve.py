"""Read the training set from the feature store: Feast's point-in-time join, once, then a file."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.features.tokenise import check_tokens
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_store
from components.shared.machine.files import read_parquet, sha256_of_file, write_parquet
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import PREPARED_SCHEMA, SPLITS, TRAINING_SET_SCHEMA

logger = logging.getLogger(__name__)

_SAME = ["review_id", "split", "sentiment", "label_source", "label_probability", "copies"]
"""Columns in which the join has to agree with the prepared reviews."""


@dataclass(frozen=True)
class RetrievalSummary:
    """What was retrieved."""

    rows: int  # reviews
    rows_per_split: dict[str, int]  # reviews of each split
    as_of: str  # the time as of which features were read, ISO 8601
    sha256: str  # digest of the written file
    join_seconds: float  # duration of Feast's join alone
    seconds: float  # duration of everything but opening the store


def retrieve_training_set(
    prepared: Path, feature_service: str, training_set: Path
) -> RetrievalSummary:
    """Join each prepared review with its features as of the data's last event.

    `training_set` is the Parquet file to write, in `TRAINING_SET_SCHEMA`, sorted by `review_id`.

    Raises:
        UserError: If the service is not registered, was made from other data, or its features
            are incomplete.
    """
    import duckdb
    import pandas as pd
    import pyarrow.compute as pc
    from feast.errors import FeastObjectNotFoundException

    reviews = read_parquet(prepared, PREPARED_SCHEMA, [*_SAME, "event_timestamp"])
    if not reviews.num_rows:
        raise UserError(f"{prepared} holds no reviews; give ingest more data")
    store = open_store()
    try:
        service = store.get_feature_service(feature_service)
    except FeastObjectNotFoundException:
        raise UserError(
            f"feature service {feature_service} is not registered; run build_features first"
        ) from None
    started = time.perf_counter()
    entities = reviews.select(["review_id"]).to_pandas()
    # Fixed by the data, never by the clock.
    as_of = pd.Timestamp(pc.max(reviews["event_timestamp"]).as_py()).as_unit("us")
    entities["event_timestamp"] = as_of
    try:
        retrieved = store.get_historical_features(entity_df=entities, features=service).to_arrow()
    except (OSError, duckdb.Error) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the files of feature service {feature_service} cannot be read ({reason}); "
            "build the features again"
        ) from None
    joined = time.perf_counter()
    table = _as_training_set(retrieved, feature_service)
    _check_against(reviews, table, feature_service)
    check_tokens(
        table,
        vocab_size=int(service.tags["vocab_size"]),
        max_tokens=int(service.tags["max_tokens"]),
        source=feature_service,
    )
    schema = labels_of_file(prepared).on(TRAINING_SET_SCHEMA)
    write_parquet(training_set, table.cast(schema))
    done = time.perf_counter()
    splits = table["split"].to_pylist()
    result = RetrievalSummary(
        rows=table.num_rows,
        rows_per_split={split: splits.count(split) for split in SPLITS},
        as_of=as_of.isoformat(),
        sha256=sha256_of_file(training_set),
        join_seconds=round(joined - started, 3),
        seconds=round(done - started, 3),
    )
    logger.info(
        "Retrieved %d reviews through %s in %.2f s", result.rows, feature_service, result.seconds
    )
    return result


def _as_training_set(retrieved: pa.Table, feature_service: str) -> pa.Table:
    """Sort by review and cast to the schema: Feast guarantees neither order nor types."""
    retrieved = retrieved.append_column("weight", pa.array(np.ones(retrieved.num_rows)))
    table = retrieved.select(TRAINING_SET_SCHEMA.names).sort_by("review_id")
    for field in TRAINING_SET_SCHEMA:
        missing = table[field.name].null_count
        if missing and not field.nullable:
            raise UserError(
                f"feature service {feature_service} lacks {field.name} of {missing} of "
                f"{table.num_rows} reviews; build the features of this data again"
            )
    return table.cast(TRAINING_SET_SCHEMA)


def _check_against(reviews: pa.Table, table: pa.Table, feature_service: str) -> None:
    """Raise unless the join returned each review once, labelled and split as prepared."""
    expected = reviews.sort_by("review_id")
    for name in _SAME:
        if not expected[name].combine_chunks().equals(table[name].combine_chunks()):
            raise UserError(
                f"feature service {feature_service} was made from other data ({name} differs); "
                "build the features of this data"
            )
