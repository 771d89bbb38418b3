"""Where a shadow's answers differ from those that were returned.

In shadow mode the canary answers a copy of the live traffic; both versions' payload logs then tell
how often they agree, without any labels.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from components.deployment.judging.confidence_sequence import Count, Interval, rate_interval
from components.shared.machine.errors import UserError
from components.shared.records.payloads import read_payloads

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_MATCHED_BY = ["request_id", "position"]
_ANSWERED = "The canary answered a copy of the traffic"
_WRITTEN_WITHIN = timedelta(seconds=35)
"""A server writes an answer to its payload log at most about 30 seconds after it was given."""


@dataclass(frozen=True)
class ShadowComparison:
    """How the answers of a shadow differ from those that were returned.

    Attributes:
        agreed: Reviews that got the same label, of those that both versions answered.
        interval: Always-valid interval of the share that agrees.
        changes: Count of reviews [stable's class, canary's class].
        classes: Names of the classes, in that order.
        probability_change: Mean over reviews of the largest change of a class's probability.
        only_stable: Reviews that the stable version alone has answered, as `only_canary`.
        mismatched: Reviews that share request and position but not the text; they are left out.
    """

    agreed: Count
    interval: Interval
    changes: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    probability_change: float | None
    only_stable: int
    only_canary: int
    mismatched: int


def describe_shadow(
    log: str,
    versions: tuple[str, str],
    span: tuple[datetime, datetime],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any] | str:
    """How a shadow's answers differ from the stable version's, for the rollout's record.

    The rollout is over, so nothing here makes it fail.

    Args:
        log: Payload log that both versions write to; '' where there is none.
        versions: The stable version, whose answers were returned, and the canary.
        span: First and last time of the shadow step.
        now: The time, with its zone.
        sleep: Waits that many seconds.

    Returns:
        The fields of `ShadowComparison`, JSON-ready; or why there is no comparison.
    """
    if not log:
        return (
            f"{_ANSWERED}. Its answers were not compared, because no payload log of both versions "
            "was named (payload_uri)."
        )
    wait = (span[1] + _WRITTEN_WITHIN - now()).total_seconds()
    if wait > 0:
        logger.info("waiting %.0f s until the shadow's answers are written", wait)
        sleep(wait)
    try:
        result = compare_shadow(log, *versions, since=span[0], until=span[1])
    except UserError as error:
        logger.warning("the shadow's answers are not compared: %s", error)
        return f"{_ANSWERED}. Its answers were not compared: {error}."
    if result.agreed.of == 0:
        why_not = (
            f"{_ANSWERED}, but the payload log holds no review that both versions answered: "
            f"{result.only_stable:,} of the stable version's alone and {result.only_canary:,} of "
            "the canary's alone. Nothing can be compared; both versions have to be served with "
            "the same payload_uri, and traffic has to come."
        )
        logger.warning("%s", why_not)
        return why_not
    logger.info(
        "in the shadow, %d of %d reviews got the same label from both versions", *result.agreed
    )
    return asdict(result)


def compare_shadow(
    log: str,
    stable_version: str,
    canary_version: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    alpha: float = 0.05,
) -> ShadowComparison:
    """Compare what both versions answered to the same live requests.

    Reviews are matched by `request_id` and `position`, from `since` on and before `until`.

    Raises:
        UserError: If the log cannot be read, or the versions are the same.
    """
    import pandas as pd

    if stable_version == canary_version:
        raise UserError(f"both versions are {stable_version}; name two that are to be compared")
    columns = [*_MATCHED_BY, "model_version", "text_sha256", "label", "p_*"]
    rows = read_payloads(log, since=since, until=until, columns=columns).to_pandas()
    left, right = (_answers(rows, version) for version in (stable_version, canary_version))
    both = left.merge(right, on=_MATCHED_BY, suffixes=("", "_canary"), validate="one_to_one")
    matched = both[both["text_sha256"] == both["text_sha256_canary"]]
    pairs = list(zip(matched["label"], matched["label_canary"], strict=True))
    agreed = Count(sum(mine == theirs for mine, theirs in pairs), len(pairs))
    names = tuple(name[2:] for name in rows.columns if name.startswith("p_"))
    moved = [
        (matched[f"p_{name}"].astype(float) - matched[f"p_{name}_canary"].astype(float)).abs()
        for name in names
    ]
    largest = pd.concat(moved, axis=1).max(axis=1)
    return ShadowComparison(
        agreed,
        rate_interval(agreed, alpha),
        tuple(tuple(pairs.count((mine, its)) for its in names) for mine in names),
        names,
        float(largest.mean()) if pairs else None,
        only_stable=len(left) - len(both),
        only_canary=len(right) - len(both),
        mismatched=len(both) - len(matched),
    )


def _answers(rows: "pd.DataFrame", version: str) -> "pd.DataFrame":
    """One row for each review that a version answered; of repeated requests the first."""
    answered = rows[rows["model_version"] == version].drop(columns="model_version")
    return answered.drop_duplicates(_MATCHED_BY)
