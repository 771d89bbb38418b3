"""The review record: one row per review, from ingest to the feature store."""

import hashlib
from pathlib import Path

import pyarrow as pa

from components.shared.machine.files import read_parquet
from components.shared.records.labels import SENTIMENTS, LabelSet

SPLITS: tuple[str, ...] = ("train", "validation", "test")

WEAK = "weak"
LABEL_SOURCES: tuple[str, ...] = ("rating", "given", "reviewer", WEAK)
"""Where a label comes from: the stars, the data's label column, a person who looked at the review,
or labelling functions. A weak label is a guess: only training learns from it, by its probability.
"""

_TEXT, _NUMBER, _PROBABILITY = pa.string(), pa.int32(), pa.float64()


def _required(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name in names]


def _optional(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


REVIEW_SCHEMA = pa.schema(
    [
        *_required(_TEXT, "review_id", "review_body"),
        *_optional(_TEXT, "title"),
        *_optional(_NUMBER, "rating", "sentiment"),
        *_optional(_TEXT, "product_category", "clothing_id"),
        *_optional(_NUMBER, "age", "recommended", "positive_feedback_count"),
        *_optional(_TEXT, "division", "department"),
        *_required(pa.timestamp("us", tz="UTC"), "event_timestamp"),
    ]
)
"""What ingest writes. `review_id` is stable: given, or a hash of the content. `sentiment` is given
or follows from `rating`; either may be missing where the row is only to be predicted."""

LABELLED_SCHEMA = pa.schema(
    [
        *REVIEW_SCHEMA,
        *_optional(_TEXT, "label_source"),
        *_optional(_PROBABILITY, "label_probability"),
    ]
)
"""What weak supervision writes: the same rows, some of them labelled now. `label_source` is one of
`LABEL_SOURCES`, and `label_probability` how sure the label is; both are null without a label."""

PREPARED_SCHEMA = pa.schema(
    [
        *REVIEW_SCHEMA,
        *_required(_TEXT, "label_source"),
        *_required(_PROBABILITY, "label_probability"),
        *_required(_TEXT, "split"),
        *_required(_NUMBER, "copies"),
        *_required(_PROBABILITY, "weight"),
    ]
)
"""What prepare writes: every row labelled and in one split. `copies` says how often training shows
the row (0: left out by undersampling); it is 1 in validation and test, which stay natural and hold
no weak label. `label_probability` is 1 but for weak labels and those that people voted on. `weight`
is what a showing counts in the loss: 1 but for live reviews that people were asked about."""

TRAINING_SET_SCHEMA = pa.schema(
    [
        *_required(_TEXT, "review_id", "split"),
        *_required(_NUMBER, "sentiment"),
        *_optional(_NUMBER, "rating"),
        *_optional(_TEXT, "product_category"),
        *_required(_TEXT, "label_source"),
        *_required(_PROBABILITY, "label_probability", "weight"),
        *_required(_NUMBER, "copies"),
        *_required(pa.list_(_NUMBER), "input_ids"),
        *_required(_NUMBER, "n_tokens"),
    ]
)
"""What the point-in-time join hands to training and evaluation, sorted by `review_id`. `weight` is
what the row counts in the loss beside its `label_probability`: 1 but for reviews that were drawn
for people to label, of which some were likelier to be drawn. `input_ids` holds token ids with
special tokens, truncated to the model's limit, unpadded."""


def predictions_schema(labels: LabelSet = SENTIMENTS) -> pa.Schema:
    """What evaluation writes for the test split.

    The text, the truth, the decision (`predicted` as sentiment, `label` as class name) and the
    calibrated probability of each class, `p_NAME`.
    """
    fields = [
        *_required(_TEXT, "review_id"),
        *_optional(_TEXT, "title"),
        *_required(_TEXT, "review_body"),
        *_optional(_TEXT, "product_category"),
        *_required(_NUMBER, "sentiment", "predicted"),
        *_required(_TEXT, "label"),
        *_required(_PROBABILITY, *(f"p_{name}" for name in labels.names)),
    ]
    return labels.on(pa.schema(fields))


def splits_digest(training_set: str | Path, split: str = "") -> str:
    """SHA-256 of which reviews stand in which split: models that share it were shown the same ones.

    Args:
        training_set: Parquet file in `TRAINING_SET_SCHEMA`.
        split: The one split to look at; all where empty. Models that share the digest of `test`
            have not learned from each other's test reviews, whatever else they learned from.

    Raises:
        UserError: If the file is missing or not a training set.
    """
    rows = read_parquet(training_set, TRAINING_SET_SCHEMA, ["review_id", "split"])
    pairs = sorted(zip(rows["split"].to_pylist(), rows["review_id"].to_pylist(), strict=True))
    pairs = [pair for pair in pairs if split in ("", pair[0])]
    return hashlib.sha256("\n".join(map("\t".join, pairs)).encode()).hexdigest()


def with_label_source(table: pa.Table, labels: LabelSet) -> pa.Table:
    """Reviews in `LABELLED_SCHEMA`; ingest does not write where a label comes from."""
    import pyarrow.compute as pc

    if "label_source" not in table.column_names:
        rated = pc.is_in(table["rating"], pa.array(list(labels.of_rating), pa.int32()))
        known = pc.is_valid(table["sentiment"])
        nothing = pa.scalar(None)
        source = pc.if_else(rated, "rating", "given")
        table = table.append_column("label_source", pc.if_else(known, source, nothing))
        table = table.append_column("label_probability", pc.if_else(known, 1.0, nothing))
    return table.select(LABELLED_SCHEMA.names).cast(LABELLED_SCHEMA)
