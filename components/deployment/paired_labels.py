"""The same reviews answered by both versions: who is right, and where do they differ?

Two ways lead there. Labelled reviews are asked of both servers, which tells which is more often
right. In shadow mode the canary answers a copy of the live traffic; both versions' payload logs
then tell how often they agree, without any labels.
"""

import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from components.contracts.errors import UserError
from components.contracts.files import read_parquet
from components.contracts.labels import CLASS_NAMES, ID2LABEL, sentiment_to_class
from components.contracts.payloads import read_payloads
from components.contracts.reviews import REVIEW_SCHEMA
from components.deployment.confidence_sequence import Count, Interval, Pairs, rate_interval
from components.deployment.observations import NotObserved

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_LABELLED = pa.schema(
    [
        REVIEW_SCHEMA.field("review_body"),
        REVIEW_SCHEMA.field("title"),
        REVIEW_SCHEMA.field("sentiment"),
    ]
)
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 5.0
_MATCHED_BY = ["request_id", "position"]


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

    rows = [
        row for row in read_parquet(reviews, _LABELLED).to_pylist() if row["sentiment"] is not None
    ]
    random.Random(seed).shuffle(rows)  # noqa: S311 (a sample, not a secret)
    rows = rows[first : first + count]
    answers: dict[str, list[str]] = {"stable": [], "canary": []}
    for row in tqdm(rows, unit=" reviews", delay=3.0):
        # In turns, so that both are asked under the same circumstances.
        answers["stable"].append(_label_of(stable, row, timeout_seconds))
        answers["canary"].append(_label_of(canary, row, timeout_seconds))
    logger.debug("asked both versions %d labelled reviews", len(rows))
    return PairedLabels(
        tuple(ID2LABEL[sentiment_to_class(row["sentiment"])] for row in rows),
        tuple(answers["stable"]),
        tuple(answers["canary"]),
    )


@dataclass(frozen=True)
class ShadowComparison:
    """How the answers of a shadow differ from those that were returned.

    Attributes:
        agreed: Reviews that got the same label, of those that both versions answered.
        interval: Always-valid interval of the share that agrees.
        changes: Count of reviews [stable's class, canary's class].
        probability_change: Mean over reviews of the largest change of a class's probability.
        only_stable: Reviews that the stable version alone has answered.
        only_canary: Reviews that the canary alone has answered.
        mismatched: Reviews that share request and position but not the text; they are left out.
    """

    agreed: Count
    interval: Interval
    changes: tuple[tuple[int, ...], ...]
    probability_change: float | None
    only_stable: int
    only_canary: int
    mismatched: int


def compare_shadow(
    stable_log: str,
    canary_log: str,
    stable_version: str,
    canary_version: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    alpha: float = 0.05,
) -> ShadowComparison:
    """Compare what both versions answered to the same live requests.

    Args:
        stable_log: URI of the payload log that holds the stable version's answers.
        canary_log: URI of the log with the canary's answers; may be the same log.
        stable_version: Rows of other versions are passed over.
        canary_version: Likewise.
        since: First time to read, with its time zone; from the beginning where None.
        until: Time to stop before; to the end where None.
        alpha: Chance that the interval misses the share of agreement at any look ever.

    Returns:
        Agreement and changes over the reviews matched by `request_id` and `position`.

    Raises:
        UserError: If a log cannot be read, or the versions are the same.
    """
    if stable_version == canary_version:
        raise UserError(f"both versions are {stable_version}; name two that are to be compared")
    left = _answers(stable_log, stable_version, since, until)
    right = _answers(canary_log, canary_version, since, until)
    both = left.merge(right, on=_MATCHED_BY, suffixes=("", "_canary"), validate="one_to_one")
    same_text = both["text_sha256"] == both["text_sha256_canary"]
    matched = both[same_text]
    changes = [
        [
            int(((matched["label"] == mine) & (matched["label_canary"] == theirs)).sum())
            for theirs in CLASS_NAMES
        ]
        for mine in CLASS_NAMES
    ]
    agreed = Count(int((matched["label"] == matched["label_canary"]).sum()), len(matched))
    moved = [
        (matched[f"p_{name}"].astype(float) - matched[f"p_{name}_canary"].astype(float)).abs()
        for name in CLASS_NAMES
    ]
    largest = moved[0].combine(moved[1], max).combine(moved[2], max)
    return ShadowComparison(
        agreed,
        rate_interval(agreed, alpha),
        tuple(map(tuple, changes)),
        float(largest.mean()) if len(matched) else None,
        only_stable=len(left) - len(both),
        only_canary=len(right) - len(both),
        mismatched=int((~same_text).sum()),
    )


def _answers(
    log: str, version: str, since: datetime | None, until: datetime | None
) -> "pd.DataFrame":
    """One row for each review that a version answered; of repeated requests the first."""
    columns = [*_MATCHED_BY, "model_version", "text_sha256", "label"]
    columns += [f"p_{name}" for name in CLASS_NAMES]
    frame = read_payloads(log, since=since, until=until, columns=columns).to_pandas()
    frame = frame[frame["model_version"] == version].drop(columns="model_version")
    return frame.drop_duplicates(_MATCHED_BY)


def _label_of(server: ModelAddress, review: Mapping[str, Any], timeout_seconds: float) -> str:
    """What a server calls a review."""
    import requests

    url = server.url if "://" in server.url else f"http://{server.url}"
    url = f"{url.rstrip('/')}/v2/models/{server.model_name}/infer"
    body = {
        "inputs": [
            {
                "name": name,
                "datatype": "BYTES",
                "shape": [1],
                "data": [review[column] or ""],
            }
            for name, column in (("text", "review_body"), ("title", "title"))
        ]
    }
    why = ""
    for attempt in range(_ATTEMPTS):
        try:
            answer = requests.post(
                url, json=body, headers=dict(server.headers), timeout=timeout_seconds
            )
            if answer.ok:
                (label,) = next(
                    one["data"] for one in answer.json()["outputs"] if one["name"] == "label"
                )
                if label not in CLASS_NAMES:
                    raise ValueError(label)
                return str(label)
        except (
            requests.RequestException,
            LookupError,
            TypeError,
            ValueError,
            StopIteration,
        ) as error:
            why = type(error).__name__
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
