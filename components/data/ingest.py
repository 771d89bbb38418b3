"""Ingest: from any source of reviews to one checked Parquet file, with every row accounted for."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.data.batches import NOT_UTF8, Batch, Rejected, as_json
from components.data.checks import (
    BAD_RATING,
    BAD_SENTIMENT,
    BAD_TIMESTAMP,
    CONTRADICTION,
    as_record,
    as_text,
    reasons_against,
)
from components.data.fingerprint import content_digests, data_fingerprint
from components.data.headers import Columns
from components.data.profile import Profile
from components.data.readers import FEWER, MORE, read_batches
from components.data.sources import find_sources, without_credentials
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.records.forgotten import without_forgotten
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.reviews import REVIEW_SCHEMA

logger = logging.getLogger(__name__)

UNDATED = datetime(2020, 1, 1, tzinfo=UTC)
"""Event timestamp of reviews whose source has no dates: fixed, and so the data's version is too."""

ID_TAKEN = "review_id already belongs to a different review"

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
    ]
)
"""`source` is the file; the others are those of `Rejected`."""

_EXAMPLES_PER_REASON = 3
_EXAMPLE_CHARACTERS = 300
_VALUE_CHARACTERS = 40
_WORDS_COUNTED = 1_000
_REASONS_SHOWN = 3

_REMEDIES = {
    BAD_RATING: "if these are other numbers than stars, read them as classes, as in "
    "COLUMNS='sentiment=score' LABELS='bad=0,1,2,3 good=8,9,10'",
    CONTRADICTION: "read one of the two alone, as with COLUMNS='sentiment='",
    BAD_TIMESTAMP: "write dates as 2024-12-31, or leave them out with COLUMNS='event_timestamp='",
    NOT_UTF8: "save the file as UTF-8",
    FEWER: "check what separates the columns, and the quotes",
    MORE: "check what separates the columns, and the quotes",
}
"""What to do where this is the most frequent reason."""


@dataclass(frozen=True)
class IngestSummary:
    """What went in, what came out, and what the written rows look like."""

    source: str  # the data URI, without credentials
    # for each file its name, rows, ignored columns, and encoding and separator if it has them
    files: list[dict[str, Any]]
    rows_in: int  # rows read; always rows_kept + duplicates + quarantined + forgotten
    rows_kept: int  # rows written
    duplicates: int  # rows dropped because an equal one was written
    quarantined: int  # rows rejected
    reasons: dict[str, int]  # rejected rows by reason; they add up to `quarantined`
    examples: list[dict[str, str | int]]  # the first few rejected rows of each reason
    fingerprint: str  # version of the written data, see `data_fingerprint`
    profile: dict[str, Any]  # histograms and counts of the written rows, see `Profile.to_dict`
    forgotten: int = 0  # rows left out because they were deleted on request


class _Seen:
    """Rows seen so far, by digest: 16 bytes each and a hash table's overhead."""

    def __init__(self) -> None:
        self.digests: set[bytes] = set()
        self._ids: set[str] = set()

    def judge(self, digest: bytes, given_id: str | None) -> str:
        """Whether a row is "new", a "duplicate", or has an id that is "taken"."""
        if digest in self.digests:
            return "duplicate"
        if given_id is not None:
            if given_id in self._ids:
                return "taken"
            self._ids.add(given_id)
        self.digests.add(digest)
        return "new"


class Quarantine:
    """Writes rejected rows as they come and counts them by reason."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, QUARANTINE_SCHEMA, compression="zstd")
        self.close = self._writer.close
        self.reasons: Counter[str] = Counter()
        # The first few rows of each reason, their records cut short.
        self.examples: list[dict[str, str | int]] = []

    def add(self, source: str, rejected: Iterable[Rejected]) -> None:
        """Write rows of one source, in the order of their lines."""
        rows = [
            {"source": source, "line": row.line, "reason": row.reason, "record": row.record}
            for row in sorted(rejected, key=lambda row: row.line)
        ]
        for row in rows:
            self.reasons[row["reason"]] += 1
            if self.reasons[row["reason"]] <= _EXAMPLES_PER_REASON:
                self.examples.append(row | {"record": _shortened(row["record"])})
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA))


def ingest(
    data_uri: str,
    reviews: str | Path,
    quarantine: str | Path,
    summary: str | Path,
    *,
    labels: LabelSet = SENTIMENTS,
    columns: str = "",
    labels_required: bool = True,
    max_rejected_share: float = 0.2,
) -> IngestSummary:
    """Read reviews from anywhere, check each row, and write the valid ones.

    Reads in batches: memory grows by some 100 bytes a row, which recognise duplicates.

    Args:
        data_uri: A file, folder or glob that fsspec can read (local, https, s3, gs, hf), in CSV,
            TSV, JSON Lines or Parquet; empty or "sample" for the bundled sample.
        reviews: Where to write the valid rows: Parquet in `REVIEW_SCHEMA`.
        quarantine: Where to write the rejected rows: Parquet in `QUARANTINE_SCHEMA`.
        summary: Where to write the summary as JSON.
        labels: The classes, and what the label column calls them.
        columns: What `Columns.parse` reads: the columns that are not recognised by their names.
        labels_required: Whether a file without a rating or sentiment column is refused; False for
            reviews that are only to be predicted.
        max_rejected_share: Share of the rows, from 0 to 1, above which their rejection is an error.

    Returns:
        The summary as written.

    Raises:
        UserError: If the source cannot be read, lacks a column, has no valid row or more rejected
            ones than allowed, or has labels of 0 and 1 where -1, 0 and 1 are expected. Nothing is
            written then.
    """
    if not 0 <= max_rejected_share <= 1:
        raise UserError(f"max_rejected_share is {max_rejected_share}; choose one from 0 to 1")
    wanted = Columns.parse(columns, labels, labels_required=labels_required)
    seen = _Seen()
    profile = Profile(labels)
    found: Counter[str] = Counter()
    schema = labels.on(REVIEW_SCHEMA)
    files: list[dict[str, Any]] = []
    rows_in = rows_kept = duplicates = forgotten = 0
    with (
        replaced_when_whole(reviews) as reviews_draft,
        replaced_when_whole(quarantine) as quarantine_draft,
        replaced_when_whole(summary) as summary_draft,
    ):
        with (
            pq.ParquetWriter(reviews_draft, schema, compression="zstd") as writer,
            closing(Quarantine(quarantine_draft)) as rejects,
        ):
            for source in find_sources(data_uri):
                rows = 0
                ignored: dict[str, None] = {}
                for layout, batch in read_batches(source, wanted):
                    rows += batch.rows
                    ignored.update(dict.fromkeys(layout.ignored))
                    table, rejected, doubled = _sift(batch, seen, labels, found)
                    rejects.add(source.name, rejected)
                    duplicates += doubled
                    forgotten += len(table)
                    table = without_forgotten(table)
                    forgotten -= len(table)
                    if table.num_rows:
                        writer.write_table(table.cast(schema))
                        profile.add(table)
                        rows_kept += table.num_rows
                file = {"name": source.name, "rows": rows, "ignored": list(ignored)}
                file |= {"encoding": layout.encoding, "separator": layout.separator}
                files.append({key: value for key, value in file.items() if value != ""})
                rows_in += rows
        shown = without_credentials(data_uri.strip()) or "sample"
        if rows_in == 0:
            raise UserError(f"{shown} has a header and no rows; give it at least one review")
        _check_meaning(found, labels, shown)
        rejected_rows = rejects.reasons.total()
        if rows_kept == 0 or rejected_rows > max_rejected_share * rows_in:
            share = f"{rejected_rows} of the {rows_in} rows of {shown} were rejected"
            if rows_kept:
                share += f", more than the share of {max_rejected_share:g} that is allowed"
            remedy = _remedy(rejects, found, labels)
            remedy += ", or allow more with max_rejected_share" if rows_kept else ""
            raise UserError(f"{share}: {_reasons_of(rejects)}; {remedy}")
        made = IngestSummary(
            source=shown,
            files=files,
            rows_in=rows_in,
            rows_kept=rows_kept,
            duplicates=duplicates,
            quarantined=rejected_rows,
            reasons=dict(sorted(rejects.reasons.items(), key=lambda item: (-item[1], item[0]))),
            examples=rejects.examples,
            fingerprint=data_fingerprint(seen.digests, labels),
            profile=profile.to_dict(),
            forgotten=forgotten,
        )
        accounted = made.rows_kept + made.duplicates + made.quarantined + made.forgotten
        if made.rows_in != accounted:
            raise AssertionError(f"rows are unaccounted for: {made}")
        write_json(summary_draft, asdict(made))
    logger.info(
        "read %d rows from %s: wrote %d, dropped %d duplicates, rejected %d%s",
        *(made.rows_in, made.source, made.rows_kept, made.duplicates, made.quarantined),
        "".join(f"; {count} x {reason}" for reason, count in made.reasons.items()),
    )
    return made


def _check_meaning(found: Counter[str], labels: LabelSet, source: str) -> None:
    """Raise if the labels are 0 and 1 alone: that they mean neutral and positive is a guess."""
    read = {word.removesuffix(".0") for word in found if word in labels.words}
    if labels == SENTIMENTS and read == {"0", "1"}:
        raise UserError(
            f"the label column of {source} holds 0 and 1 but no -1, and -1 is negative, 0 neutral "
            "and 1 positive here; say what they mean with LABELS='negative=0 positive=1', or "
            "'neutral=0 positive=1'"
        )


def _reasons_of(rejects: Quarantine) -> str:
    """The most frequent reasons, each with its count and its first row."""
    parts = []
    for reason, count in rejects.reasons.most_common(_REASONS_SHOWN):
        first = next(example for example in rejects.examples if example["reason"] == reason)
        parts.append(
            f"{count} x {reason}, first in line {first['line']} of {first['source']} "
            f"({first['record']})"
        )
    return "; ".join(parts)


def _remedy(rejects: Quarantine, found: Counter[str], labels: LabelSet) -> str:
    """What to do against the most frequent reason."""
    reason = rejects.reasons.most_common(1)[0][0]
    if reason == BAD_SENTIMENT.format(labels.expected):
        words = [word for word, _ in found.most_common(6)]
        more = " and more" if len(found) > len(words) else ""
        return (
            f"the column holds {', '.join(map(repr, words))}{more}: name the classes with "
            "LABELS='NAME=VALUE,VALUE NAME=VALUE'"
        )
    return _REMEDIES.get(reason, "fix the data")


def _shortened(record: str) -> str:
    """A rejected record as JSON with its long values cut, in one line."""
    values = {name: value for name, value in json.loads(record).items() if value not in ("", None)}
    for name, value in values.items():
        if isinstance(value, str) and len(value) > _VALUE_CHARACTERS:
            values[name] = value[:_VALUE_CHARACTERS] + "..."
    return as_json(values)[:_EXAMPLE_CHARACTERS]


def _sift(
    batch: Batch, seen: _Seen, labels: LabelSet, found: Counter[str]
) -> tuple[pa.Table, list[Rejected], int]:
    """Rows to write as a table of the record, rejected rows, and the number of duplicates.

    The words of the label column are counted in `found`.
    """
    text = as_text(batch.columns, len(batch.lines))
    counted = pc.value_counts(pc.utf8_lower(text["sentiment"].combine_chunks().drop_null()))
    for word, count in zip(*(counted.field(i).to_pylist() for i in (0, 1)), strict=True):
        if word in found or len(found) < _WORDS_COUNTED:
            found[word] += count
    against = reasons_against(text, labels)
    rejected = list(batch.rejected)
    rejected += [Rejected(batch.lines[i], why, batch.raw(i)) for i, why in against.items()]
    valid = [i for i in range(len(batch.lines)) if i not in against]
    columns = as_record(text.take(pa.array(valid, pa.int64())), labels)
    digests = content_digests(columns)
    given = columns["review_id"].to_pylist()
    new: list[int] = []
    duplicates = 0
    for place, (digest, given_id) in enumerate(zip(digests, given, strict=True)):
        verdict = seen.judge(digest, given_id)
        if verdict == "new":
            new.append(place)
        elif verdict == "duplicate":
            duplicates += 1
        else:
            row = valid[place]
            rejected.append(Rejected(batch.lines[row], ID_TAKEN, batch.raw(row)))
    hashed = pa.array([digest.hex() for digest in digests], pa.string())
    columns["review_id"] = pc.coalesce(columns["review_id"], hashed)
    columns["event_timestamp"] = pc.fill_null(
        columns["event_timestamp"], pa.scalar(UNDATED, pa.timestamp("us", tz="UTC"))
    )
    table = pa.table([columns[name] for name in REVIEW_SCHEMA.names], schema=REVIEW_SCHEMA)
    return table.take(pa.array(new, pa.int64())), rejected, duplicates
