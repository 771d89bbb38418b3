"""Where a shadow's answers differ from those that were returned.

In shadow mode the canary answers a copy of the live traffic; both versions' payload logs then tell
how often they agree, without any labels.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from components.deployment.judging.confidence_sequence import Count, Interval, rate_interval
from components.shared.machine.errors import UserError
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.payloads import read_payloads

if TYPE_CHECKING:
    import pandas as pd

_MATCHED_BY = ["request_id", "position"]


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
