"""The same labelled reviews asked of both versions' servers: which one is more often right?"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.deployment.asking.labelled_reviews import LabelledReview, read_labelled_reviews
from components.deployment.asking.open_inference import infer_path, infer_request, text_in
from components.deployment.judging.confidence_sequence import Pairs
from components.deployment.judging.observations import NotObserved
from components.shared.records.labels import CLASS_NAMES

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class ModelAddress:
    """Where one version of the model answers.

    Attributes:
        url: Of the server, e.g. `127.0.0.1:8081` or `https://latest-reviews.example.org`.
        model_name: Name of the served model.
        headers: Sent along, e.g. `Host` where a gateway routes by it.
    """

    url: str
    model_name: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PairedLabels:
    """Class names of the same labelled reviews, in the same order.

    Attributes:
        truth: The labels that people gave.
        stable: What the stable version says.
        canary: What the canary says.
    """

    truth: tuple[str, ...] = ()
    stable: tuple[str, ...] = ()
    canary: tuple[str, ...] = ()

    def __add__(self, later: "PairedLabels") -> "PairedLabels":
        """These and then those."""
        return PairedLabels(
            self.truth + later.truth, self.stable + later.stable, self.canary + later.canary
        )

    @property
    def pairs(self) -> Pairs:
        """How often both, only one, or neither is right; first is the stable, second the canary."""
        rights = [
            (stable == truth, canary == truth)
            for truth, stable, canary in zip(self.truth, self.stable, self.canary, strict=True)
        ]
        return Pairs(
            both_right=rights.count((True, True)),
            only_first=rights.count((True, False)),
            only_second=rights.count((False, True)),
            of=len(rights),
        )


def ask_labelled_reviews(
    reviews: str | Path,
    stable: ModelAddress,
    canary: ModelAddress,
    *,
    first: int = 0,
    count: int = 512,
    seed: int = 0,
    timeout_seconds: float = 30.0,
) -> PairedLabels:
    """Ask both versions the same labelled reviews, over the Open Inference Protocol v2.

    The reviews are shuffled by the seed, so that the first `count` are a fair sample; the next call
    with a higher `first` goes on where this one ended. The questions count in the servers' metrics
    like any other. They go one review at a time, so that they take no longer than live requests;
    still it is cleanest to ask them before a `CanaryWatch` begins, because they are a larger part
    of the canary's few requests than of the stable version's many.

    Args:
        reviews: Parquet file with `review_body`, `title` and `sentiment`; rows without a sentiment
            are passed over. Reviews that neither version learned from.
        stable: Where the stable version answers.
        canary: Where the canary answers.
        first: How many of the shuffled reviews to pass over.
        count: How many to ask at most.
        seed: Of the shuffling.
        timeout_seconds: How long a server may take for one request.

    Returns:
        The answers of both; empty where the file holds no further labelled reviews.

    Raises:
        UserError: If the file cannot be read.
        NotObserved: If a server does not answer, or refuses again and again.
    """
    from tqdm import tqdm

    asked = read_labelled_reviews(reviews, seed)[first : first + count]
    answers: dict[str, list[str]] = {"stable": [], "canary": []}
    for review in tqdm(asked, unit=" reviews", delay=3.0):
        # In turns, so that both are asked under the same circumstances.
        answers["stable"].append(_label_of(stable, review, timeout_seconds))
        answers["canary"].append(_label_of(canary, review, timeout_seconds))
    logger.debug("asked both versions %d labelled reviews", len(asked))
    return PairedLabels(
        tuple(review.label for review in asked),
        tuple(answers["stable"]),
        tuple(answers["canary"]),
    )


def _label_of(server: ModelAddress, review: LabelledReview, timeout_seconds: float) -> str:
    """What a server calls a review."""
    import requests

    url = server.url if "://" in server.url else f"http://{server.url}"
    url = url.rstrip("/") + infer_path(server.model_name)
    body, why = infer_request(review.title, review.body), ""
    for attempt in range(_ATTEMPTS):
        try:
            answer = requests.post(
                url, json=body, headers=dict(server.headers), timeout=timeout_seconds
            )
        except requests.RequestException as error:
            why = type(error).__name__
            break
        if answer.ok:
            label = text_in(answer.content, "label")
            if label in CLASS_NAMES:
                return label
            why = "the answer names no class"
            break
        why = f"status {answer.status_code}"
        if answer.status_code != 503:
            break
        if attempt < _ATTEMPTS - 1:
            time.sleep(_wait_seconds(answer.headers.get("Retry-After")))
    raise NotObserved(
        f"{url} does not label a review ({why}); check the address and that the model is ready"
    )


def _wait_seconds(retry_after: str | None) -> float:
    """How long a server that is full asks to wait, within reason."""
    try:
        return min(_LONGEST_WAIT_SECONDS, max(0.1, float(retry_after or 1.0)))
    except ValueError:
        return 1.0
