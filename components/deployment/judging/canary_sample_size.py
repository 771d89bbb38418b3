"""How many requests a canary needs before its verdict, for canaries of several kinds.

Canary requests until a verdict, at 10 % of the traffic and with the default limits
(`python -m components.deployment.judging.canary_sample_size` prints it):

    as good as the stable               promote         584
    fails always                        roll back         3
    fails 1 request in 5                roll back        33
    fails 1 request in 20               roll back       839
    200 ms slower                       roll back        33
    twice as slow                       roll back        92
    1 answer in 10 takes a second more  roll back       258
    always says positive                roll back        88
    says each class equally often       roll back        47
    says negative three times as often  roll back       465
"""

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

from components.deployment.judging.canary_analysis import CanaryWatch, Limits, Verdict
from components.deployment.judging.observations import Observations
from components.shared.records.serving_metrics import SECONDS_BUCKETS


@dataclass(frozen=True)
class _Behaviour:
    """Rates of a version: of failures, latency buckets and classes."""

    failed: float
    latency: tuple[float, ...]
    classes: tuple[float, ...]

    def after(self, requests: int) -> Observations:
        """What is expected to be seen of so many requests of one review each."""
        answered = (1 - self.failed) * requests
        return Observations(
            requests,
            errors=round(requests * self.failed),
            latency=tuple(round(answered * share) for share in self.latency),
            classes=tuple(round(answered * share) for share in self.classes),
        )


def _log_normal(
    median_seconds: float, spread: float, added_seconds: float = 0.0
) -> tuple[float, ...]:
    """Shares of the latency buckets, for times that are log-normal plus a constant."""
    passed = [0.0]
    for edge in SECONDS_BUCKETS:
        rest = edge - added_seconds
        steps = math.log(rest / median_seconds) / spread if rest > 0 else -math.inf
        passed.append(NormalDist().cdf(steps) if rest > 0 else 0.0)
    return tuple(high - low for low, high in itertools.pairwise([*passed, 1.0]))


_FAST = _log_normal(0.02, 0.5)
_NATURAL = (0.10, 0.13, 0.77)
_TYPICAL: dict[str, _Behaviour] = {
    "as good as the stable": _Behaviour(0.0, _FAST, _NATURAL),
    "fails always": _Behaviour(1.0, _FAST, _NATURAL),
    "fails 1 request in 5": _Behaviour(0.2, _FAST, _NATURAL),
    "fails 1 request in 20": _Behaviour(0.05, _FAST, _NATURAL),
    "200 ms slower": _Behaviour(0.0, _log_normal(0.02, 0.5, 0.2), _NATURAL),
    "twice as slow": _Behaviour(0.0, _log_normal(0.04, 0.5), _NATURAL),
    "1 answer in 10 takes a second more": _Behaviour(
        0.0,
        tuple(
            0.9 * fast + 0.1 * slow
            for fast, slow in zip(_FAST, _log_normal(0.02, 0.5, 1.0), strict=True)
        ),
        _NATURAL,
    ),
    "always says positive": _Behaviour(0.0, _FAST, (0.0, 0.0, 1.0)),
    "says each class equally often": _Behaviour(0.0, _FAST, (1 / 3, 1 / 3, 1 / 3)),
    "says negative three times as often": _Behaviour(0.0, _FAST, (0.30, 0.13, 0.57)),
}


def requests_needed(
    canary: str, limits: Limits | None = None, *, traffic_percent: int = 10, up_to: int = 100_000
) -> tuple[Verdict, int]:
    """How many canary requests a verdict takes if each version shows exactly its expected counts.

    Args:
        canary: One of the behaviours that the module's table lists.
        limits: How much worse the canary may be.
        traffic_percent: The canary's share of all requests.
        up_to: Canary requests after which to give up.

    Returns:
        The first verdict other than hold, and the canary's requests then; hold and `up_to` where
        there is none.
    """
    stable = _TYPICAL["as good as the stable"]
    watch = CanaryWatch.begin(Observations(), Observations(), limits)
    seen = 0
    while seen < up_to:
        seen += max(1, seen // 50)
        others = round(seen * (100 - traffic_percent) / traffic_percent)
        watch, found = watch.look(stable.after(others), _TYPICAL[canary].after(seen))
        if found.verdict is not Verdict.HOLD:
            return found.verdict, seen
    return Verdict.HOLD, up_to


def main() -> None:
    """Print how many canary requests a verdict takes, for canaries of several kinds."""
    for canary in _TYPICAL:
        verdict, requests = requests_needed(canary)
        print(f"{canary:36}{verdict.replace('_', ' '):12}{requests:7,}")


if __name__ == "__main__":
    main()
