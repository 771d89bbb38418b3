"""Labelled reviews as ordinary requests: each goes once through the traffic split, to whom it may.

Unlike `paired_labels`, which asks both versions directly, nobody chooses who answers: the split
does, as for any client, and the answer names the version that gave it.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from components.deployment.asking.labelled_reviews import LabelledReview
from components.deployment.asking.open_inference import text_in
from components.deployment.local.traffic import TrafficCount, replay
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)


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
            label = text_in(body, "label") if status == 200 else ""
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
