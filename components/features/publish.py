"""Publish features: versioned Parquet, registered in the store, copied to the online store."""

import contextlib
import dataclasses
import hashlib
import io
import logging
import os
import shutil
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from components.features.tokenise import BATCH_ROWS, ReviewTokenizer, open_reviews, tokenise_reviews
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import (
    apply_objects,
    open_store,
    store_dir,
    versions_dir,
)
from components.shared.machine.files import (
    locked,
    read_json,
    replaced_when_whole,
    sha256_of_file,
    write_json,
)
from components.shared.machine.online_features import online_features
from components.shared.records.reviews import PREPARED_SCHEMA
from feature_repo.definitions import (
    LABELS_FILE,
    TOKENS_FILE,
    VERSION_FILE,
    FeatureVersion,
    feature_objects,
    read_version,
)

if TYPE_CHECKING:
    from feast import FeatureStore

logger = logging.getLogger(__name__)

LABELS_SCHEMA = pa.schema(
    [
        PREPARED_SCHEMA.field(name).with_nullable(name in ("title", "product_category", "rating"))
        for name in (
            *("review_id", "event_timestamp", "title", "review_body", "split"),
            *("product_category", "sentiment", "rating", "copies"),
            *("label_source", "label_probability"),
        )
    ]
)
"""The file behind the labels view."""

CHECKED_ONLINE = 20
"""Reviews that are looked up online after each materialisation."""


@dataclass(frozen=True)
class FeatureSummary:
    """What was published."""

    feature_service: str  # name under which training reads it
    version: str  # hash of the prepared data and the tokenizer; the service's name ends in it
    tokenizer_fingerprint: str  # SHA-256 of what decides the token ids
    data_fingerprint: str
    base_model: str
    max_tokens: int
    vocab_size: int  # token ids are below this
    rows: int  # reviews
    mean_tokens: float  # mean length, special tokens included
    truncated: int  # reviews longer than `max_tokens`
    checked_online: int  # reviews whose online features were compared with the offline ones
    reused: bool  # whether the version's Parquet files were there already
    tokenise_seconds: float  # duration of tokenisation when the files were written
    # duration of the copy to the online store in this run, 0 if it was there already
    materialise_seconds: float
    seconds: float  # duration of this run


def build_features(
    prepared: Path,
    base_model: str,
    max_tokens: int,
    data_fingerprint: str,
    features: Path,
    summary: Path,
) -> FeatureSummary:
    """Tokenise prepared reviews and publish them as one version of the feature store.

    Can be run again after a kill at any point, and while other runs do: files are whole or absent,
    existing ones are reused, and only this version's objects are registered. The token ids are
    written to the Parquet file `features` (`TOKENS_SCHEMA`), the summary to a JSON
    file. Special tokens count among the `max_tokens` of a review.

    Raises:
        UserError: If the prepared file, the base model or the store is unusable.
    """
    started = time.perf_counter()
    tokenizer = ReviewTokenizer(base_model, max_tokens)
    version = _version_of(prepared, tokenizer, data_fingerprint)
    folder = versions_dir() / version
    with locked(versions_dir() / f".{version}.lock"):
        _remove_leftovers(folder)
        reused = _is_whole(folder)
        if reused:
            logger.info("Features %s are in the store already", version)
        else:
            _write_version(folder, prepared, tokenizer, data_fingerprint)
    facts = read_json(folder / VERSION_FILE)
    published = read_version(folder)
    with locked(store_dir() / ".writing.lock"):
        store = open_store()
        apply_objects(store, feature_objects(published, store.config.offline_store.type))
        checked, materialise_seconds = _materialise(store, published)
    _link_or_copy(folder / TOKENS_FILE, features)
    result = FeatureSummary(
        feature_service=published.feature_service,
        version=version,
        tokenizer_fingerprint=tokenizer.fingerprint,
        data_fingerprint=data_fingerprint,
        base_model=base_model,
        max_tokens=max_tokens,
        vocab_size=tokenizer.vocab_size,
        rows=facts["rows"],
        mean_tokens=facts["mean_tokens"],
        truncated=facts["truncated"],
        checked_online=checked,
        reused=reused,
        tokenise_seconds=facts["tokenise_seconds"],
        materialise_seconds=round(materialise_seconds, 3),
        seconds=round(time.perf_counter() - started, 3),
    )
    write_json(summary, dataclasses.asdict(result))
    logger.info("Published %d reviews as %s", result.rows, result.feature_service)
    return result


def _version_of(prepared: Path, tokenizer: ReviewTokenizer, data_fingerprint: str) -> str:
    """Name of the version that these inputs make: equal inputs, equal name."""
    if not Path(prepared).is_file():
        raise UserError(f"{prepared} does not exist; run prepare first")
    parts = (sha256_of_file(prepared), tokenizer.fingerprint, data_fingerprint)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _is_whole(folder: Path) -> bool:
    """Whether the files in a version's folder have the digests of its version file."""
    try:
        files = read_json(folder / VERSION_FILE)["sha256"]
        return all(sha256_of_file(folder / name) == digest for name, digest in files.items())
    except (UserError, OSError):
        return False


def _remove_leftovers(folder: Path) -> None:
    """Remove drafts of this version that a killed run left; the version's lock must be held."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def _write_version(
    folder: Path, prepared: Path, tokenizer: ReviewTokenizer, data_fingerprint: str
) -> None:
    """Write the Parquet files of a version and, last, the file that describes them."""
    with replaced_when_whole(folder) as draft:
        draft.mkdir()
        _write_labels(prepared, draft / LABELS_FILE)
        counts = tokenise_reviews(prepared, tokenizer, draft / TOKENS_FILE)
        facts: dict[str, Any] = {
            "rows": counts.rows,
            "mean_tokens": round(counts.tokens / counts.rows, 3),
            "truncated": counts.truncated,
            "tokenise_seconds": round(counts.seconds, 3),
            "sha256": {name: sha256_of_file(draft / name) for name in (LABELS_FILE, TOKENS_FILE)},
            "tags": {
                "data_fingerprint": data_fingerprint,
                "tokenizer_fingerprint": tokenizer.fingerprint,
                "base_model": tokenizer.base_model,
                "max_tokens": str(tokenizer.max_tokens),
                "vocab_size": str(tokenizer.vocab_size),
                "rows": str(counts.rows),
            },
        }
        write_json(draft / VERSION_FILE, facts)


def _write_labels(prepared: Path, labels: Path) -> None:
    """Copy the label view's columns, batch by batch, and check that ids are present and unique."""
    import pyarrow.parquet as pq

    seen: set[str] = set()
    with (
        open_reviews(prepared) as source,
        pq.ParquetWriter(labels, LABELS_SCHEMA, compression="zstd") as sink,
    ):
        missing = [name for name in LABELS_SCHEMA.names if name not in source.schema_arrow.names]
        if missing:
            raise UserError(f"{prepared} has no column {', '.join(missing)}; run prepare again")
        if not source.metadata.num_rows:
            raise UserError(f"{prepared} holds no reviews; give ingest more data")
        for batch in source.iter_batches(BATCH_ROWS, columns=LABELS_SCHEMA.names):
            table = pa.Table.from_batches([batch]).select(LABELS_SCHEMA.names)
            for field in LABELS_SCHEMA:
                if not field.nullable and table[field.name].null_count:
                    raise UserError(f"{prepared} has rows without {field.name}; run prepare again")
            for review_id in table["review_id"].to_pylist():
                if review_id in seen:
                    raise UserError(
                        f"{prepared} has review_id {review_id} twice; run prepare again"
                    )
                seen.add(review_id)
            sink.write_table(table.cast(LABELS_SCHEMA))


def _materialise(store: "FeatureStore", published: FeatureVersion) -> tuple[int, float]:
    """Copy a version into the online store, unless it is there, and check a sample of it.

    Returns the number of reviews compared, and the seconds that the copy took.
    """
    if _is_materialised(store, published):
        checked, differing = _differences_online(store, published)
        if not differing:
            return checked, 0.0
    started = time.perf_counter()
    logger.info("Copying %s reviews to the online store", published.tags["rows"])
    first, last = _time_range(published.folder / LABELS_FILE)
    # A version is materialised whole. The margin keeps DuckDB's reading of the limits in the
    # session's time zone from cutting rows off.
    margin = timedelta(days=2)
    with contextlib.redirect_stdout(io.StringIO()):
        store.materialize(
            first - margin,
            last + margin,
            feature_views=[published.labels_view, published.tokens_view],
        )
    seconds = time.perf_counter() - started
    checked, differing = _differences_online(store, published)
    if differing:
        raise UserError(
            f"the online store returns other features than the files for review {differing[0]}; "
            "delete the online store and run again"
        )
    return checked, seconds


def _is_materialised(store: "FeatureStore", published: FeatureVersion) -> bool:
    """Whether the registry records a finished copy of both views."""
    return all(
        store.registry.get_feature_view(name, store.project).materialization_intervals
        for name in (published.labels_view, published.tokens_view)
    )


def _time_range(parquet: Path) -> tuple[datetime, datetime]:
    """First and last event timestamp of a file."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    times = pc.min_max(pq.read_table(parquet, columns=["event_timestamp"])["event_timestamp"])
    return times["min"].as_py(), times["max"].as_py()


def _differences_online(store: "FeatureStore", published: FeatureVersion) -> tuple[int, list[str]]:
    """Compare online features with the files for reviews spread evenly over the version.

    Returns the number of reviews compared, and the ids of those that differ.
    """
    import pyarrow.parquet as pq

    labels = pq.ParquetFile(published.folder / LABELS_FILE)
    tokens = pq.ParquetFile(published.folder / TOKENS_FILE)
    expected: list[dict[str, Any]] = []
    groups = labels.num_row_groups
    # One row group after the other: memory stays that of a batch.
    for group in range(0, groups, max(1, groups // CHECKED_ONLINE)):
        left, right = labels.read_row_group(group), tokens.read_row_group(group)
        step = max(1, left.num_rows * min(groups, CHECKED_ONLINE) // CHECKED_ONLINE)
        rows = list(range(0, left.num_rows, step))
        pairs = zip(left.take(rows).to_pylist(), right.take(rows).to_pylist(), strict=True)
        expected += [one | other for one, other in pairs]
    review_ids = [row["review_id"] for row in expected]
    online = online_features(review_ids, published.feature_service, store)
    differing = [
        row["review_id"]
        for row, features in zip(expected, online, strict=True)
        if features is None or any(row[name] != value for name, value in features.items())
    ]
    return len(expected), differing


def _link_or_copy(source: Path, target: Path) -> None:
    """Put a file of the store at an artifact's path: a link where possible, a copy otherwise."""
    with replaced_when_whole(target) as draft:
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
