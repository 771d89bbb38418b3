"""Reading reviews that are only to be scored: every row that has a text is kept, copies too."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.data.batches import Batch, Rejected
from components.data.checks import (
    EMPTY_BODY,
    LONG_BODY,
    LONG_FIELD,
    TOO_MANY_MARKS,
    as_record,
    as_text,
    reasons_against,
)
from components.data.fingerprint import content_digests
from components.data.headers import Columns
from components.data.ingest import Quarantine
from components.data.readers import read_batches
from components.data.sources import find_sources, without_credentials
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole
from components.shared.records.labels import SENTIMENTS
from components.shared.records.scored import SHARD_REVIEWS, TO_SCORE_SCHEMA

logger = logging.getLogger(__name__)

_CARRIED = ("review_id", "title", "product_category")
_OF_TEXT = (EMPTY_BODY, LONG_BODY, TOO_MANY_MARKS, *map(LONG_FIELD.format, _CARRIED))
"""Reasons for which a review cannot be scored; a rating or a date that makes no sense is none."""


@dataclass(frozen=True)
class Read:
    """How many rows were read, and how many of them can be scored."""

    source: str
    rows_in: int
    rows_kept: int

    @property
    def quarantined(self) -> int:
        """Rows without a usable text."""
        return self.rows_in - self.rows_kept


def read_unlabelled(
    data_uri: str,
    reviews: str | Path,
    quarantine: str | Path,
    *,
    columns: str = "",
    max_rejected_share: float = 0.2,
) -> Read:
    """Read reviews from anywhere, in flat memory, into row groups of `SHARD_REVIEWS`.

    The same data give the same bytes. A review without an id gets the one that ingest gives it.

    Args:
        data_uri: As `ingest` takes it.
        reviews: Where to write the rows that can be scored: Parquet in `TO_SCORE_SCHEMA`.
        quarantine: Where to write the others: Parquet in ingest's `QUARANTINE_SCHEMA`.
        columns: What `Columns.parse` reads.
        max_rejected_share: Share of the rows, from 0 to 1, above which their rejection is an error.

    Raises:
        UserError: If the source cannot be read, has no text column, no row that can be scored, or
            more of the others than allowed. Nothing is written then.
    """
    if not 0 <= max_rejected_share <= 1:
        raise UserError(f"max_rejected_share is {max_rejected_share}; choose one from 0 to 1")
    wanted = Columns.parse(columns, labels_required=False)
    rows_in = rows_kept = 0
    with replaced_when_whole(reviews) as draft, replaced_when_whole(quarantine) as rejects_draft:
        with (
            pq.ParquetWriter(draft, TO_SCORE_SCHEMA, compression="zstd") as writer,
            closing(Quarantine(rejects_draft)) as rejects,
        ):
            waiting = TO_SCORE_SCHEMA.empty_table()
            for source in find_sources(data_uri):
                for _, batch in read_batches(source, wanted):
                    rows_in += batch.rows
                    table, rejected = _sift(batch, source.name)
                    rejects.add(source.name, rejected)
                    rows_kept += table.num_rows
                    waiting = pa.concat_tables([waiting, table])
                    for group in _whole_groups(waiting):
                        writer.write_table(group)
                    waiting = waiting.slice(waiting.num_rows // SHARD_REVIEWS * SHARD_REVIEWS)
            if waiting.num_rows:
                writer.write_table(waiting)
        shown = without_credentials(data_uri.strip()) or "sample"
        if not rows_in:
            raise UserError(f"{shown} has a header and no rows; give it at least one review")
        rejected_rows = rows_in - rows_kept
        if not rows_kept or rejected_rows > max_rejected_share * rows_in:
            reason, count = rejects.reasons.most_common(1)[0]
            first = next(example for example in rejects.examples if example["reason"] == reason)
            raise UserError(
                f"{rejected_rows} of the {rows_in} rows of {shown} cannot be scored: {count} x "
                f"{reason}, first in line {first['line']} of {first['source']}; name the column "
                "of the text, as in COLUMNS='review_body=comment'"
                + (", or allow more with max_rejected_share" if rows_kept else "")
            )
    logger.info(
        "read %d rows from %s: %d can be scored, %d cannot%s",
        *(rows_in, shown, rows_kept, rejected_rows),
        "".join(f"; {count} x {reason}" for reason, count in rejects.reasons.items()),
    )
    return Read(shown, rows_in, rows_kept)


def _whole_groups(table: pa.Table) -> Iterator[pa.Table]:
    """The table's rows in full row groups; what is left over waits for more."""
    for start in range(0, table.num_rows - SHARD_REVIEWS + 1, SHARD_REVIEWS):
        yield table.slice(start, SHARD_REVIEWS).combine_chunks()


def _sift(batch: Batch, source: str) -> tuple[pa.Table, list[Rejected]]:
    """The rows that can be scored, and the others."""
    text = as_text(batch.columns, len(batch.lines))
    against = reasons_against(text, SENTIMENTS)
    unusable = {row: why for row, why in against.items() if why in _OF_TEXT}
    rejected = [*batch.rejected]
    rejected += [Rejected(batch.lines[row], why, batch.raw(row)) for row, why in unusable.items()]
    kept = [row for row in range(text.num_rows) if row not in unusable]
    without_nonsense = _without_nonsense(text, against.keys() - unusable.keys())
    record = as_record(without_nonsense.take(pa.array(kept, pa.int64())), SENTIMENTS)
    hashed = pa.array([digest.hex() for digest in content_digests(record)], pa.string())
    found = {
        "source": pa.array([source] * len(kept), pa.string()),
        "line": pa.array([batch.lines[row] for row in kept], pa.int64()),
        **record,
        "review_id": pc.coalesce(record["review_id"], hashed),
    }
    return pa.table([found[name] for name in TO_SCORE_SCHEMA.names], TO_SCORE_SCHEMA), rejected


def _without_nonsense(text: pa.Table, rows: set[int]) -> pa.Table:
    """The table with ratings, dates and whatever else scoring does not read left out of rows."""
    if not rows:
        return text
    spoilt = pa.array([row in rows for row in range(text.num_rows)])
    nothing = pa.scalar(None, pa.string())
    columns = {
        name: text[name]
        if name in (*_CARRIED, "review_body")
        else pc.if_else(spoilt, nothing, text[name])
        for name in text.column_names
    }
    return pa.table(columns)
