"""How many requests a canary needs for a verdict, at 10 % of the traffic and default limits."""

import itertools
import math
from statistics import NormalDist

import pytest

from components.deployment.judging.canary_analysis import CanaryWatch, Limits
from components.deployment.judging.observations import Observations, Verdict
from components.shared.records.serving_metrics import SECONDS_BUCKETS

NATURAL = (0.10, 0.13, 0.77)


def log_normal(median_seconds, added_seconds=0.0):
    """Shares of the latency buckets, for times that are log-normal plus a constant."""
    passed = [0.0]
    for edge in SECONDS_BUCKETS:
        rest = edge - added_seconds
        passed.append(NormalDist().cdf(math.log(rest / median_seconds) / 0.5) if rest > 0 else 0.0)
    return [high - low for low, high in itertools.pairwise([*passed, 1.0])]


def expected(requests, failed=0.0, latency=(), classes=NATURAL):
    """What is expected to be seen of so many requests of one review each."""
    answered = (1 - failed) * requests
    return Observations(
        requests,
        errors=round(requests * failed),
        latency=tuple(round(answered * share) for share in latency or log_normal(0.02)),
        classes=tuple(round(answered * share) for share in classes),
    )


TAIL = [0.9 * a + 0.1 * b for a, b in zip(log_normal(0.02), log_normal(0.02, 1.0), strict=True)]


@pytest.mark.parametrize(
    ("canary", "verdict", "requests"),
    [
        pytest.param({}, "promote", 584, id="as good as the stable"),
        pytest.param({"failed": 1.0}, "roll_back", 3, id="fails always"),
        pytest.param({"failed": 0.2}, "roll_back", 33, id="fails 1 request in 5"),
        pytest.param({"failed": 0.05}, "roll_back", 839, id="fails 1 request in 20"),
        pytest.param({"latency": log_normal(0.02, 0.2)}, "roll_back", 33, id="200 ms slower"),
        pytest.param({"latency": log_normal(0.04)}, "roll_back", 92, id="twice as slow"),
        pytest.param({"latency": TAIL}, "roll_back", 258, id="1 in 10 takes a second more"),
        pytest.param({"classes": (0, 0, 1)}, "roll_back", 88, id="always says positive"),
        pytest.param({"classes": (1 / 3, 1 / 3, 1 / 3)}, "roll_back", 47, id="each class alike"),
        pytest.param({"classes": (0.30, 0.13, 0.57)}, "roll_back", 465, id="negative too often"),
    ],
)
def test_requests_until_a_verdict(canary, verdict, requests):
    watch = CanaryWatch(Limits(), Observations(), Observations())
    seen, found = 0, Verdict.HOLD
    while found is Verdict.HOLD and seen < 10_000:
        seen += max(1, seen // 50)
        watch, analysis = watch.look(expected(9 * seen), expected(seen, **canary))
        found = analysis.verdict
    assert (found, seen) == (verdict, requests)
