"""KFP steps of the features room."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def build_features(
    prepared: Input[Dataset],
    base_model: str,
    max_tokens: int,
    data_fingerprint: str,
    features: Output[Dataset],
    features_summary: Output[Artifact],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("feature_service", str)]):
    """Add what is new of the reviews, their texts, labels and tokens, to the feature store.

    Args:
        prepared: Prepared reviews (Parquet).
        base_model: `minilm`, a folder, or a hub id; its tokenizer is used.
        max_tokens: Most token ids of a review, special tokens included.
        data_fingerprint: Fingerprint of the ingested data, for lineage.
        features: Token ids of these reviews (Parquet).
        features_summary: What was published (JSON).
        metrics: Rows, lengths and durations.

    Returns:
        Name of the feature service that training reads.
    """
    import logging
    from pathlib import Path
    from typing import NamedTuple

    from components.features import publish

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = publish.build_features(
        prepared=Path(prepared.path),
        base_model=base_model,
        max_tokens=max_tokens,
        data_fingerprint=data_fingerprint,
        features=Path(features.path),
        summary=Path(features_summary.path),
    )
    features.metadata["feature_service"] = result.feature_service
    features.metadata["tokenizer_fingerprint"] = result.tokenizer_fingerprint
    features.metadata["data_fingerprint"] = result.data_fingerprint
    for name in ("rows", "new_texts", "new_labels", "tokenised", "other_texts"):
        metrics.log_metric(name, getattr(result, name))
    metrics.log_metric("mean_tokens", result.mean_tokens)
    metrics.log_metric("truncated", result.truncated)
    metrics.log_metric("seconds", result.seconds)

    class Outputs(NamedTuple):
        feature_service: str

    return Outputs(feature_service=result.feature_service)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def retrieve_training_set(
    prepared: Input[Dataset],
    feature_service: str,
    training_set: Output[Dataset],
    metrics: Output[Metrics],
    as_of: str = "",
) -> NamedTuple("Outputs", [("labels_as_of", str)]):
    """Read the training set through the feature store's point-in-time join.

    Args:
        prepared: Prepared reviews (Parquet): which ones to read.
        feature_service: Name that build_features returned.
        training_set: Labels, splits and token ids (Parquet), sorted by review.
        metrics: Rows, and the labels among them that people gave; duration.
        as_of: Time up to which labels count, ISO 8601; empty is now.

    Returns:
        Time up to which labels counted, with which the same training set can be read again.
    """
    import logging
    from pathlib import Path
    from typing import NamedTuple

    from components.features import retrieve

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = retrieve.retrieve_training_set(
        Path(prepared.path), feature_service, Path(training_set.path), as_of
    )
    training_set.metadata["feature_service"] = feature_service
    training_set.metadata["sha256"] = result.sha256
    training_set.metadata["as_of"] = result.as_of
    for name in ("rows", "corrected", "left_out"):
        metrics.log_metric(name, getattr(result, name))
    for split, rows in result.rows_per_split.items():
        metrics.log_metric(f"rows_{split}", rows)
    metrics.log_metric("seconds", result.seconds)

    class Outputs(NamedTuple):
        labels_as_of: str

    return Outputs(labels_as_of=result.as_of)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def add_corrections(
    resolved: str,
    corrections_summary: Output[Artifact],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("added", int)]):
    """Add labels that people agreed on to the feature store, where they count from then on.

    Args:
        resolved: Folder of resolved labels, or one file of them (Parquet); empty adds nothing.
        corrections_summary: What was added (JSON).
        metrics: Labels, and reviews that the store did not know.

    Returns:
        How many labels the store did not know.
    """
    import logging
    from pathlib import Path
    from typing import NamedTuple

    from components.features.corrections import add_resolved_labels

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = add_resolved_labels(resolved, Path(corrections_summary.path))
    for name in ("resolved", "added", "new_reviews", "tokenised", "seconds"):
        metrics.log_metric(name, getattr(result, name))

    class Outputs(NamedTuple):
        added: int

    return Outputs(added=result.added)
