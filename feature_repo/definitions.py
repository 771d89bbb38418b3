"""What the feature store holds: the entity, and the views and services of the folders there are.

A view is a folder of immutable Parquet files to which files are added; its name never changes. What
is registered follows from the folders alone, so that whoever registers it registers the same.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView

TEXT_VIEW = "review_text"
LABELS_VIEW = "review_labels"
TOKENS_VIEW = "review_tokens"
SERVICE = "sentiment_training"

TIMESTAMP, CREATED = "event_timestamp", "created_timestamp"

FORMER_SERVICES = "former_services.json"
"""Names that services had when they ended in a hash of the data, and today's names for them."""

DEFAULT_LABELS = "sentiments"
"""The label set whose views and services carry its hash nowhere in their names."""


@dataclass(frozen=True)
class View:
    """A folder of the store, and what is known of the rows in it.

    `facts` are text: of tokens the tokenizer's fingerprint, base model, limit and vocabulary; of
    labels their label set.
    """

    name: str
    folder: Path
    facts: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "View":
        """The view in a folder; its facts stand beside it."""
        facts = folder.with_suffix(".json")
        known = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
        return cls(folder.name, folder, known)


def labels_view(labels: str) -> str:
    """Name of the view with the labels of a label set, given as its text."""
    return LABELS_VIEW if labels == DEFAULT_LABELS else f"{LABELS_VIEW}_{_short(labels)}"


def tokens_view(fingerprint: str) -> str:
    """Name of the view with the tokens of a tokenizer, given by its fingerprint."""
    return f"{TOKENS_VIEW}_{fingerprint[:8]}"


def service_name(tokens: str, labels: str) -> str:
    """Name of the service that joins a view of tokens with a view of labels."""
    return f"{SERVICE}{tokens.removeprefix(TOKENS_VIEW)}{labels.removeprefix(LABELS_VIEW)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def views_in(data: Path) -> list[View]:
    """The views whose folders hold files: text, labels, and tokens with the newest last."""
    folders = [path for path in sorted(data.glob("review_*")) if any(path.glob("*.parquet"))]
    views = [View.of(folder) for folder in folders if folder.is_dir()]
    return sorted(views, key=lambda view: (view.facts.get("since", ""), view.name))


def review_entity() -> "Entity":
    """The entity `review`, joined on `review_id`."""
    from feast import Entity, ValueType

    return Entity(
        name="review",
        join_keys=["review_id"],
        value_type=ValueType.STRING,
        description="One product review.",
    )


def feature_objects(data: Path, offline_store: str = "duckdb") -> list[Any]:
    """Everything that is registered: entity, views and services.

    Beside the service of each tokenizer, `sentiment_training` is that of the newest one.

    Args:
        data: Absolute folder of the views' folders.
        offline_store: `offline_store.type` of the configuration.

    Returns:
        Feast objects, in the order in which they depend on each other.

    Raises:
        ValueError: If that offline store does not read Parquet folders.
    """
    if offline_store not in ("duckdb", "dask", "file"):
        raise ValueError(f"no source for offline store {offline_store!r}; use duckdb")
    views = views_in(data)
    made = {view.name: _feature_view(view) for view in views}
    services = {}
    for tokens in views:
        for labels in views:
            if tokens.name.startswith(TOKENS_VIEW) and labels.name.startswith(LABELS_VIEW):
                name = service_name(tokens.name, labels.name)
                names = [name, *([SERVICE] if labels.name == LABELS_VIEW else [])]
                services |= {one: _service(one, tokens, labels, made) for one in names}
    former = data / FORMER_SERVICES
    for name, now in json.loads(former.read_text("utf-8")).items() if former.is_file() else ():
        if now in services:
            services[name] = _service(name, *_views_of(services[now], views), made)
    return [review_entity(), *made.values(), *services.values()]


def _views_of(service: "FeatureService", views: list[View]) -> tuple[View, View]:
    """The views of tokens and labels that a service joins."""
    named = {view.name: view for view in views}
    return named[service.tags["tokens_view"]], named[service.tags["labels_view"]]


def _service(
    name: str, tokens: View, labels: View, made: dict[str, "FeatureView"]
) -> "FeatureService":
    from feast import FeatureService

    return FeatureService(
        name=name,
        features=[made[labels.name], made[tokens.name]],
        description="What training and evaluation read.",
        tags={
            **tokens.facts,
            **labels.facts,
            "tokens_view": tokens.name,
            "labels_view": labels.name,
        },
    )


def _feature_view(view: View) -> "FeatureView":
    from feast import FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat
    from feast.types import Array, Bool, Float64, Int32, String

    features: dict[str, Any]
    if view.name == TEXT_VIEW:
        description = "Text and category of each review; offline only."
        features = {"title": String, "review_body": String, "product_category": String}
        features |= {"text_digest": String}
    elif view.name.startswith(TOKENS_VIEW):
        description = "Token ids with special tokens, truncated, unpadded."
        features = {"input_ids": Array(Int32), "n_tokens": Int32, "truncated": Bool}
        features |= {"tokenised_text": String}
    else:
        description = "Each review's label, since when it is known, and who gave it."
        features = {"sentiment": Int32, "rating": Int32, "label_source": String}
        features |= {"label_probability": Float64, "votes": Int32, "agreement": Float64}
        features |= {"weight": Float64, "labelled_text": String}
    source = FileSource(
        name=f"{view.name}_source",
        path=str(view.folder),
        timestamp_field=TIMESTAMP,
        created_timestamp_column=CREATED,
        file_format=ParquetFormat(),
    )
    return FeatureView(
        name=view.name,
        entities=[review_entity()],
        ttl=timedelta(0),  # unlimited: a review's features do not expire
        # The entity's column is declared too: without it Feast infers the schema of the files
        # and stumbles over list columns.
        schema=[
            Field(name="review_id", dtype=String),
            *(Field(name=feature, dtype=dtype) for feature, dtype in features.items()),
        ],
        source=source,
        online=view.name != TEXT_VIEW,  # nobody asks for a text by its id: fewer copies of it
        description=description,
        tags=view.facts,
    )
