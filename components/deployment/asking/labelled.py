"""Reviews with the class that people gave them, asked of the versions that serve.

A canary's are asked of both versions' servers directly, so that the same reviews compare them. An
A/B test's go once each through the traffic split, as any client's would: the split decides who
answers, and the answer names the version that gave it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import pyarrow as pa
import tenacity

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.records.labels import labels_of_file
from components.shared.records.open_inference import (
    infer_path,
    infer_request,
    question_header,
    text_in,
)
from components.shared.records.reviews import REVIEW_SCHEMA

logger = logging.getLogger(__name__)

_COLUMNS = ("review_body", "title", "sentiment")
_CONNECTIONS = 32
_LONGEST_WAIT_SECONDS = 5.0


class LabelledReview(NamedTuple):
    """A review and the class name that people gave it."""

    title: str | None
    body: str
    label: str


def read_labelled_reviews(path: str | Path, seed: int = 0) -> list[LabelledReview]:
    """The labelled reviews of a Parquet file, shuffled; rows without a sentiment are left out."""
    schema = pa.schema([REVIEW_SCHEMA.field(name) for name in _COLUMNS])
    labels = labels_of_file(path)
    named = dict(zip(labels.values, labels.names, strict=True))
    reviews = [
        LabelledReview(row["title"], row["review_body"], named[row["sentiment"]])
        for row in read_parquet(path, schema).to_pylist()
        if row["sentiment"] is not None
    ]
    random.Random(seed).shuffle(reviews)  # noqa: S311 (a sample, not a secret)
    return reviews


@dataclass
class SideBySide:
    """Asks the servers of both versions the same labelled reviews, each once.

    The questions count in the servers' metrics like any other, and are a larger part of the
    canary's few requests than of the stable version's many: ask them before a watch begins. They
    go one at a time, so that they take no longer than live requests. After `seconds` no more are
    asked, so that a canary that is slow is not tried longer for the sake of its labels.

    At most `count` are asked, of each version's servers past the traffic split.
    """

    labelled: str | Path
    model_name: str
    count: int
    addresses: Callable[[], Mapping[str, Sequence[str]]]
    seconds: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _right: dict[tuple[str, str], list[tuple[bool, bool]]] = field(default_factory=dict)
    _done: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, stable: str, canary: str) -> tuple[Sequence[tuple[bool, bool]], str]:
        """Whether the stable version and the canary are right on each review.

        Nothing while not all are asked, or where there are none to ask; and why a server gave no
        answer, '' where all did. The next call goes on where that one broke off.
        """
        both, servers, begun = (stable, canary), self.addresses(), self.clock()
        right = self._right.setdefault(both, [])
        if both in self._done:
            return right, ""
        if not self.count or not servers.get(stable) or not servers.get(canary):
            return [], ""
        names = labels_of_file(self.labelled).names
        with httpx.Client(timeout=30.0) as client:
            for review in read_labelled_reviews(self.labelled)[len(right) : self.count]:
                # In turns, so that both are asked under the same circumstances.
                answers = []
                for version in both:
                    label, why = self._label(client, servers[version][0], review, names)
                    if why:
                        return [], why
                    answers.append(label == review.label)
                right.append((answers[0], answers[1]))
                if self.clock() - begun >= self.seconds:
                    break
        self._done.add(both)
        logger.info("asked both versions %d labelled reviews", len(right))
        return right, ""

    def _label(
        self, client: httpx.Client, server: str, review: LabelledReview, names: Sequence[str]
    ) -> tuple[str, str]:
        """What a server calls a review, or why not; one that is full is asked again."""
        url = server.rstrip("/") + infer_path(self.model_name)
        again = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda answer: answer.status_code == 503),
            stop=tenacity.stop_after_attempt(5),
            wait=_retry_after,
            sleep=self.sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        try:
            answer = again(
                client.post,
                url,
                json=infer_request(review.title, review.body),
                headers=question_header(),
            )
            why = f"status {answer.status_code}"
            if answer.is_success:
                label, why = (
                    text_in(answer.content, "label"),
                    "the answer names no class of these reviews",
                )
                if label in names:
                    return label, ""
        except httpx.HTTPError as error:
            why = type(error).__name__
        remedy = "check the address and that the model is ready"
        return "", f"{url} does not label a review ({why}); {remedy}"


def _retry_after(state: tenacity.RetryCallState) -> float:
    """How long a server that is full asks to wait, within reason."""
    answer = state.outcome.result() if state.outcome else None
    try:
        seconds = float(answer.headers.get("Retry-After", "1")) if answer is not None else 1.0
    except ValueError:
        seconds = 1.0
    return min(_LONGEST_WAIT_SECONDS, max(0.1, seconds))


class Answer(NamedTuple):
    """What came back for a labelled review that went through the traffic split.

    The version is empty where the answer names none; `right` where the label is people's own.
    """

    version: str
    status: int
    right: bool


Ask = Callable[[Sequence[LabelledReview], float], list[Answer]]
"""Sends reviews, each once, spread over so many seconds; the answers that came, in any order."""


def asker_of(url: str, model_name: str) -> Ask:
    """Asks the service at a URL, where its traffic is split, over the Open Inference Protocol."""
    target = url.rstrip("/") + infer_path(model_name)

    async def one(client: httpx.AsyncClient, review: LabelledReview, wait: float) -> Answer | None:
        await asyncio.sleep(wait)
        try:
            answer = await client.post(
                target,
                json=infer_request(review.title, review.body),
                # A splitter may draw by the request's id: no two requests may have the same.
                headers=question_header(),
            )
        except httpx.HTTPError:
            return None
        version = answer.headers.get("X-Model-Version") or text_in(answer.content, "model_version")
        label = text_in(answer.content, "label") if answer.status_code == 200 else ""
        return Answer(version, answer.status_code, label == review.label)

    async def all_of(reviews: Sequence[LabelledReview], seconds: float) -> list[Answer]:
        limits = httpx.Limits(max_connections=_CONNECTIONS)
        async with httpx.AsyncClient(timeout=30.0, limits=limits) as client:
            gap = seconds / max(1, len(reviews))
            tasks = [one(client, review, n * gap) for n, review in enumerate(reviews)]
            return [answer for answer in await asyncio.gather(*tasks) if answer]

    return lambda reviews, seconds: asyncio.run(all_of(reviews, seconds))


def check_answers(ask: Ask, review: LabelledReview, versions: Sequence[str], url: str) -> None:
    """Ask one review, to see that answers come from one of the versions; else a `UserError`."""
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
