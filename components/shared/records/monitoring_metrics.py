"""The metrics that a look at the model writes and the alerts read; all gauges.

Each carries the labels `model_name` and `model_version`, those of single columns `column` too.
"""

DRIFTED = "review_sentiment_drifted"
"""1 if the newest look says drifted, 0 if no drift; not there if the data were too little."""

DRIFT_EFFECT = "review_sentiment_drift_effect"
"""Total variation by `column`: the share of answers that moved."""

DRIFT_P_VALUE = "review_sentiment_drift_p_value"
"""P-value by `column`, corrected for the number of columns."""

DRIFT_ALPHA = "review_sentiment_drift_alpha"
"""What a p-value is compared with; it follows from the yearly alarm budget."""

LIVE_ACCURACY = "review_sentiment_live_accuracy"
"""Estimated share of right answers in the window, by `bound`: `value`, and `low` and `high` of its
95 % interval. Not there without enough labels, as are the two below."""

TEST_ACCURACY = "review_sentiment_test_accuracy"
"""The same of the test split."""

CONCEPT_DRIFT = "review_sentiment_concept_drift"
"""1 if the live accuracy's interval has left the test set's, else 0."""

MONITORED_ANSWERS = "review_sentiment_monitored_answers"
"""Answers of the version in the window."""

LIVE_LABELS = "review_sentiment_live_labels"
"""Answers of the window that people have checked."""

LOOKED_AT = "review_sentiment_looked_at_timestamp_seconds"
"""When the newest look was taken, in seconds since 1970."""
