"""Labelled reviews as ordinary requests: each goes once through the traffic split, to whom it may.

Unlike `paired_labels`, which asks both versions directly, nobody chooses who answers: the split
does, as for any client, and the answer names the version that gave it.
"""

import json
import logging
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from components.contracts.errors import UserError
from components.contracts.files import read_parquet
from components.contracts.labels import ID2LABEL, sentiment_to_class
from components.contracts.reviews import REVIEW_SCHEMA
from components.deployment.traffic import TrafficCount, replay

logger = logging.getLogger(__name__)

_COLUMNS = ("review_body", "title", "sentiment")


class LabelledReview(NamedTuple):
    """A review and the class name that people gave it."""

    title: str | None
    body: str
    label: str


class Answer(NamedTuple):
    """What came back for a labelled review.

    Attributes:
        version: Model version that answered; empty where the answer names none.
        status: HTTP status.
        right: Whether the label is people's own; False without a label.
    """

    version: str
    status: int
    right: bool


Ask = Callable[[Sequence[LabelledReview], float], list[Answer]]
"""Sends reviews, each once, spread over so many seconds; the answers that came, in any order."""


def read_labelled_reviews(path: str | Path, seed: int = 0) -> list[LabelledReview]:
    """The labelled reviews of a file, shuffled.

    Args:
        path: Parquet with `review_body`, `title` and `sentiment`; rows without a sentiment are
            passed over. Reviews that neither version learned from.
        seed: Of the shuffling.

    Raises:
        UserError: If the file cannot be read.
    """
    schema = pa.schema([REVIEW_SCHEMA.field(name) for name in _COLUMNS])
    found = [
        LabelledReview(
            row["title"], row["review_body"], ID2LABEL[sentiment_to_class(row["sentiment"])]
        )
        for row in read_parquet(path, schema).to_pylist()
        if row["sentiment"] is not None
    ]
    random.Random(seed).shuffle(found)  # noqa: S311 (a sample, not a secret)
    return found


def asker_of(url: str, model_name: str, *, timeout_seconds: float = 30.0) -> Ask:
    """Asks the service at a URL, over the Open Inference Protocol v2.

    Args:
        url: Of the service, where the traffic is split; without a path.
        model_name: Name in the URL.
        timeout_seconds: A request without an answer by then has none.
    """

    def ask(reviews: Sequence[LabelledReview], seconds: float) -> list[Answer]:
        import asyncio

        answers: list[Answer] = []

        def answered(which: int, version: str, status: int, body: bytes) -> None:
            label = _label_in(body) if status == 200 else ""
            answers.append(Answer(version, status, label == reviews[which].label))

        asyncio.run(
            replay(
                url,
                [(review.title, review.body) for review in reviews],
                len(reviews) / max(seconds, 1e-3),
                count=TrafficCount(),
                stop=threading.Event(),
                model_name=model_name,
                timeout_seconds=timeout_seconds,
                # A splitter may draw by the request's id: two batches must not have the same ids.
                seed=secrets.randbits(64),
                once=True,
                answered=answered,
            )
        )
        return answers

    return ask


def check_answers(ask: Ask, review: LabelledReview, versions: Sequence[str], url: str) -> None:
    """Ask one review, before anything is changed, to see that answers come and can be told apart.

    Args:
        ask: Asks the service.
        review: Any.
        versions: That may answer.
        url: For the message.

    Raises:
        UserError: If there is no answer, or not from one of the versions.
    """
    answers = ask([review], 0.0)
    remedy = "give the URL at which the service's traffic is split"
    if not answers:
        raise UserError(f"nothing answers at {url}; {remedy}")
    (answer,) = answers
    if answer.status != 200:
        raise UserError(f"a review is answered at {url} with status {answer.status}; {remedy}")
    if answer.version not in versions:
        named = f"version {answer.version}" if answer.version else "a server that names no version"
        raise UserError(
            f"a review is answered at {url} by {named}, not by version "
            f"{' or '.join(versions)}; {remedy}"
        )


def _label_in(content: bytes) -> str:
    """The label that an answer gives; empty where it gives none."""
    try:
        for output in json.loads(content)["outputs"]:
            if output["name"] == "label":
                return str(output["data"][0])
    except (ValueError, KeyError, TypeError, IndexError):
        pass
    return ""
