"""What the feature store holds: the entity, its sources, views and services, one set per version.

A version is one prepared data set read by one tokenizer. Its Parquet files never change, and the
names of its views end in its hash, so that runs side by side cannot read each other's data.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import Entity, FeatureView
    from feast.data_source import DataSource

LABELS_FILE = "review_labels.parquet"
TOKENS_FILE = "review_tokens.parquet"
VERSION_FILE = "version.json"

TIMESTAMP = "event_timestamp"


@dataclass(frozen=True)
class FeatureVersion:
    """One immutable set of features.

    Attributes:
        version: Hash that names it, 12 hexadecimal digits.
        folder: Absolute folder with its Parquet files.
        tags: Where it came from, as text: data fingerprint, tokenizer fingerprint, base model,
            max_tokens, vocabulary size, rows. They are stored in the registry.
    """

    version: str
    folder: Path
    tags: dict[str, str]

    @property
    def labels_view(self) -> str:
        """Name of the view with text, label and split."""
        return f"review_labels_{self.version}"

    @property
    def tokens_view(self) -> str:
        """Name of the view with the token ids."""
        return f"review_tokens_{self.version}"

    @property
    def feature_service(self) -> str:
        """Name of the service that training reads."""
        return f"sentiment_training_{self.version}"


def read_version(folder: Path) -> FeatureVersion:
    """The version whose Parquet files lie in an absolute folder."""
    facts = json.loads((folder / VERSION_FILE).read_text(encoding="utf-8"))
    return FeatureVersion(folder.name, folder, facts["tags"])


def review_entity() -> "Entity":
    """The entity `review`, joined on `review_id`."""
    from feast import Entity, ValueType

    return Entity(
        name="review",
        join_keys=["review_id"],
        value_type=ValueType.STRING,
        description="One product review.",
    )


def batch_source(name: str, parquet: Path, offline_store: str) -> "DataSource":
    """The source of a view, in the class that the configured offline store reads.

    Args:
        name: Name of the source.
        parquet: Absolute path of its file.
        offline_store: `offline_store.type` of the configuration.

    Raises:
        ValueError: If there is no source for that store.
    """
    from feast import FileSource
    from feast.data_format import ParquetFormat

    def file_source() -> "DataSource":
        return FileSource(
            name=name,
            path=str(parquet),
            timestamp_field=TIMESTAMP,
            file_format=ParquetFormat(),
        )

    sources: dict[str, Callable[[], DataSource]] = dict.fromkeys(
        ("duckdb", "dask", "file"), file_source
    )
    if offline_store not in sources:
        raise ValueError(f"no source for offline store {offline_store!r}; use duckdb")
    return sources[offline_store]()


def feature_objects(version: FeatureVersion, offline_store: str = "duckdb") -> list[Any]:
    """Everything of one version that is registered: entity, two views, one service.

    Args:
        version: The version, whose files exist.
        offline_store: `offline_store.type` of the configuration.

    Returns:
        Feast objects, in the order in which they depend on each other.
    """
    from feast import FeatureService, FeatureView, Field
    from feast.types import Array, Float64, Int32, String

    review = review_entity()

    def view(name: str, file: str, description: str, features: dict[str, Any]) -> "FeatureView":
        return FeatureView(
            name=name,
            entities=[review],
            ttl=timedelta(0),  # unlimited: a review's features do not expire
            # The entity's column is declared too: without it Feast infers the schema of the file
            # and stumbles over list columns.
            schema=[
                Field(name="review_id", dtype=String),
                *(Field(name=feature, dtype=dtype) for feature, dtype in features.items()),
            ],
            source=batch_source(f"{name}_source", version.folder / file, offline_store),
            online=True,
            description=description,
            tags=version.tags,
        )

    labels = view(
        version.labels_view,
        LABELS_FILE,
        "Text, category, label and its source, and split of each review.",
        {
            "title": String,
            "review_body": String,
            "split": String,
            "product_category": String,
            "sentiment": Int32,
            "rating": Int32,
            "copies": Int32,
            "label_source": String,
            "label_probability": Float64,
        },
    )
    tokens = view(
        version.tokens_view,
        TOKENS_FILE,
        "Token ids with special tokens, truncated, unpadded.",
        {"input_ids": Array(Int32), "n_tokens": Int32},
    )
    service = FeatureService(
        name=version.feature_service,
        features=[
            labels[
                [
                    *("split", "sentiment", "rating", "product_category", "copies"),
                    *("label_source", "label_probability"),
                ]
            ],
            tokens,
        ],
        description="What training and evaluation read.",
        tags=version.tags,
    )
    return [review, labels, tokens, service]
