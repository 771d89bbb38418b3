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
    """Tokenise reviews and publish them in the feature store, offline and online.

    Args:
        prepared: Prepared reviews (Parquet).
        base_model: `minilm`, a folder, or a hub id; its tokenizer is used.
        max_tokens: Most token ids of a review, special tokens included.
        data_fingerprint: Fingerprint of the ingested data, for lineage.
        features: Token ids (Parquet), as registered.
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
    metrics.log_metric("rows", result.rows)
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
) -> None:
    """Read the training set through the feature store's point-in-time join.

    Args:
        prepared: Prepared reviews (Parquet): which ones to read.
        feature_service: Name that build_features returned.
        training_set: Labels, splits and token ids (Parquet), sorted by review.
        metrics: Rows and duration.
    """
    import logging
    from pathlib import Path

    from components.features import retrieve

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = retrieve.retrieve_training_set(
        Path(prepared.path), feature_service, Path(training_set.path)
    )
    training_set.metadata["feature_service"] = feature_service
    training_set.metadata["sha256"] = result.sha256
    training_set.metadata["as_of"] = result.as_of
    metrics.log_metric("rows", result.rows)
    for split, rows in result.rows_per_split.items():
        metrics.log_metric(f"rows_{split}", rows)
    metrics.log_metric("seconds", result.seconds)
