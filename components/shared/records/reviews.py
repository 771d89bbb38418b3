"""The review record: one row per review, from ingest to the feature store."""

import pyarrow as pa

SPLITS: tuple[str, ...] = ("train", "validation", "test")

REVIEW_SCHEMA = pa.schema(
    [
        pa.field("review_id", pa.string(), nullable=False),
        pa.field("review_body", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("rating", pa.int32()),
        pa.field("sentiment", pa.int32()),
        pa.field("product_category", pa.string()),
        pa.field("clothing_id", pa.string()),
        pa.field("age", pa.int32()),
        pa.field("recommended", pa.int32()),
        pa.field("positive_feedback_count", pa.int32()),
        pa.field("division", pa.string()),
        pa.field("department", pa.string()),
        pa.field("event_timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""What ingest writes. `review_id` is stable: given, or a hash of the content. `sentiment` is given
or follows from `rating`; either may be missing where the row is only to be predicted."""

PREPARED_SCHEMA = pa.schema(
    [
        *REVIEW_SCHEMA,
        pa.field("split", pa.string(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),
    ]
)
"""What prepare writes: every row labelled and in one split. `copies` says how often training shows
the row (0: left out by undersampling); it is 1 in validation and test, which stay natural."""

TRAINING_SET_SCHEMA = pa.schema(
    [
        pa.field("review_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("sentiment", pa.int32(), nullable=False),
        pa.field("rating", pa.int32()),
        pa.field("product_category", pa.string()),
        pa.field("copies", pa.int32(), nullable=False),
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
    ]
)
"""What the point-in-time join hands to training and evaluation, sorted by `review_id`. `input_ids`
holds token ids with special tokens, truncated to the model's limit, unpadded."""

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("review_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("review_body", pa.string(), nullable=False),
        pa.field("product_category", pa.string()),
        pa.field("sentiment", pa.int32(), nullable=False),
        pa.field("predicted", pa.int32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("p_negative", pa.float64(), nullable=False),
        pa.field("p_neutral", pa.float64(), nullable=False),
        pa.field("p_positive", pa.float64(), nullable=False),
    ]
)
"""What evaluation writes for the test split: the text, the truth, the decision (`predicted` as
sentiment, `label` as class name) and the calibrated probability of each class."""
