"""The three queues: whom the model is unsure about, whose label is in doubt, and chance.

Queues that share live reviews share their probability too: a review that could have been drawn as
uncertain and for the audit has the probability of being drawn at all.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.review.drawing import coins, either, inclusion_probabilities, uncertainty
from components.shared.records.labels import LabelSet
from components.shared.records.resolved_labels import WEIGHT_CAP
from components.shared.records.review_items import (
    AUDIT,
    LABEL_NOISE,
    UNCERTAIN,
    item_id_of,
    review_items_schema,
)
from components.shared.records.splits import text_identity
from components.shared.records.text import model_text

BY_KEY = "review_id="
"""How the log tells of a review that was asked for by its key: there is no text to show."""


@dataclass(frozen=True)
class Live:
    """Live reviews that may be asked about: each text once, none that was asked about before."""

    table: pa.Table  # [n] rows of the log
    identities: list[str]  # [n] what each text is recognised by
    occurrences: NDArray[np.int32]  # [n] rows of the log with that text
    confidence: NDArray[np.float64]  # [n] probability of the answer
    logged: int  # rows of the log in the window
    without_text: int  # of them without a text that was kept
    asked_before: int  # of them with a text that people were asked about


def live_reviews(log: pa.Table, asked: Collection[str], labels: LabelSet) -> Live:
    """The reviews of a log that may be asked about; of equal texts the first stands for all.

    Args:
        log: Rows of the payload log.
        asked: Item ids and identities of texts that people were asked about.
        labels: The classes.
    """
    known, places = set(asked), {}
    occurrences: dict[str, int] = {}
    without_text = asked_before = 0
    columns = (log[name].to_pylist() for name in ("text", "review_id", "text_sha256"))
    ids: set[str] = set()
    for place, (text, review_id, digest) in enumerate(zip(*columns, strict=True)):
        if not text or text.startswith(BY_KEY):
            without_text += 1
            continue
        identity, item_id = text_identity(text), item_id_of(review_id, digest)
        if identity in known or item_id in known:
            asked_before += 1
        elif identity in occurrences:
            occurrences[identity] += 1
        elif item_id not in ids:  # else another text of the same review: its first one stands
            ids.add(item_id)
            occurrences[identity] = 1
            places[identity] = place
    table = log.take(pa.array(places.values(), pa.int64()))
    chances = [table[f"p_{name}"].to_numpy() for name in labels.names]
    return Live(
        table=table,
        identities=list(places),
        occurrences=np.array(list(occurrences.values()), np.int32),
        confidence=np.max(chances, axis=0).astype(np.float64),
        logged=log.num_rows,
        without_text=without_text,
        asked_before=asked_before,
    )


def draw_live(
    live: Live, uncertain: float, audit: float, draw: str, seed: int, labels: LabelSet
) -> pa.Table:
    """Items of the queues `uncertain` and `audit`, drawn from live reviews.

    An item that both have drawn is one of the audit, which so stays a sample by chance alone.

    Args:
        live: The reviews.
        uncertain: Items of the first queue, on average.
        audit: Items of the second, on average.
        draw: Name of the draw.
        seed: Of the coins.
        labels: The classes.
    """
    rows = len(live.identities)
    if not rows:
        return review_items_schema(labels).empty_table()
    by_doubt = inclusion_probabilities(uncertainty(live.confidence), uncertain)
    by_chance = np.full(rows, min(1.0, audit / rows))
    together = either(by_doubt, by_chance)
    audited = coins(live.identities, f"{draw} {AUDIT}", seed) < by_chance
    doubted = coins(live.identities, f"{draw} {UNCERTAIN}", seed) < by_doubt
    drawn = np.flatnonzero(audited | doubted)
    # As many as are drawn on average, divided among all by 1 / probability: 1 on average.
    weights = np.minimum(WEIGHT_CAP, together.mean() / together)
    columns: dict[str, Any] = {
        name: live.table[name].take(pa.array(drawn))
        for name in (
            *("review_id", "product_category", "model_name", "model_version", "label", "time"),
            *(f"p_{name}" for name in labels.names),
        )
    }
    ids, digests = columns["review_id"], live.table["text_sha256"].take(pa.array(drawn))
    item_ids = list(map(item_id_of, ids.to_pylist(), digests.to_pylist()))
    columns |= {
        "item_id": pa.array(item_ids, pa.string()),
        "review_body": live.table["text"].take(pa.array(drawn)),
        "queue": pa.array(np.where(audited[drawn], AUDIT, UNCERTAIN), pa.string()),
        "inclusion_probability": pa.array(together[drawn]),
        "weight": pa.array(weights[drawn]),
        "occurrences": pa.array(live.occurrences[drawn]),
    }
    return _items(columns, len(drawn), labels)


def doubtful_labels(
    suspects: pa.Table,
    most: int,
    asked: Collection[str],
    mask: Callable[[str], str],
    labels: LabelSet,
    when: Any,
) -> pa.Table:
    """Items of the queue `label_noise`: the worst suspects; nothing is left to chance here.

    Args:
        suspects: Rows of `suspects_schema`, the worst first.
        most: Items at most.
        asked: Item ids and identities of texts that people were asked about.
        mask: Takes out what is personal.
        labels: The classes.
        when: Time of the draw.
    """
    known, places = set(asked), []
    names = ("review_id", "title", "review_body", "split")
    for place, row in enumerate(suspects.select(names).to_pylist()):
        identity = text_identity(model_text(row["title"], row["review_body"]))
        if row["split"] == "test" or identity in known or row["review_id"] in known:
            continue
        known |= {identity, row["review_id"]}
        places.append(place)
        if len(places) >= most:
            break
    found = suspects.take(pa.array(places[:most], pa.int64()))
    columns = {name: found[name] for name in found.column_names if name.startswith("p_")}
    columns |= {name: found[name] for name in ("review_id", "given", "split")}
    for name in ("title", "review_body"):
        masked = [text and mask(text) for text in found[name].to_pylist()]
        columns[name] = pa.array(masked, pa.string())
    columns |= {"item_id": found["review_id"], "label": found["suggested"]}
    rows = found.num_rows
    columns |= {"queue": pa.array([LABEL_NOISE] * rows, pa.string())}
    columns |= {name: pa.array(np.ones(rows)) for name in ("inclusion_probability", "weight")}
    columns |= {"occurrences": pa.array(np.ones(rows, np.int32))}
    columns |= {"time": pa.array([when] * rows, pa.timestamp("us", tz="UTC"))}
    return _items(columns, rows, labels)


def _items(columns: dict[str, Any], rows: int, labels: LabelSet) -> pa.Table:
    """The columns in the schema of items; those that are missing are null."""
    schema = review_items_schema(labels)
    whole = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(
        [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in whole], schema=schema
    )


def counted_by(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value of a column of names occurs."""
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}
