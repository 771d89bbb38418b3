import itertools
import json
import math
from bisect import bisect_left
from statistics import NormalDist

import pytest

from components.deployment.judging.canary_analysis import (
    Analysis,
    CanaryWatch,
    LatencyEvidence,
    Limits,
    Measure,
    Standing,
    analyse,
)
from components.deployment.judging.confidence_sequence import (
    Count,
    Interval,
    Pairs,
    difference_interval,
)
from components.deployment.judging.observations import Observations, Verdict
from components.shared.records.labels import SENTIMENTS
from components.shared.records.serving_metrics import SECONDS_BUCKETS
from tests.deployment.judging.test_observations import added

BUCKETS = len(SECONDS_BUCKETS) + 1
FAST = 0.02


def seen(requests: int, *, errors: int = 0, seconds: float = FAST, classes=(0.1, 0.2, 0.7)):
    """Requests of one review each, all equally fast."""
    answered, latency = requests - errors, [0] * BUCKETS
    latency[bisect_left(SECONDS_BUCKETS, seconds)] = answered
    counts = [round(answered * share) for share in classes[1:]]
    called = SENTIMENTS.counted([answered - sum(counts), *counts])
    return Observations(requests, errors, 0, tuple(latency), called)


def judged(stable: Observations, canary: Observations, limits=None, **more) -> Analysis:
    edges = SECONDS_BUCKETS.index(0.03), SECONDS_BUCKETS.index(0.1)
    latency = LatencyEvidence(*edges, stable, canary)
    return analyse(stable, canary, limits or Limits(), latency=latency, **more)


def test_nothing_seen_is_no_verdict_and_nothing_seen_of_one_no_difference():
    found = analyse(Observations(), Observations(), Limits())
    assert found.verdict is Verdict.HOLD
    assert all(measure.interval == (-1, 1) for measure in found.measures)
    one = analyse(seen(9), Observations(), Limits())
    assert [measure.difference for measure in one.measures] == [None] * len(one.measures)
    assert "nothing to compare yet" in one.measures[0].in_words()


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (seen(400, errors=80), "failed requests: 20.0 % against 0.0 %"),
        (seen(400, errors=400), "failed requests: 100.0 %"),
        (seen(400, seconds=0.05), "answers slower than the stable's median (30 ms)"),
        (seen(400, seconds=0.22), "answers slower than the stable's"),
        (seen(400, classes=(0, 0, 1.0)), "reviews called positive: 100.0 % against 70.0 %"),
        (seen(400, classes=(0.6, 0.2, 0.2)), "reviews called positive: 20.0 %"),
    ],
)
def test_a_fault_in_any_measure_rolls_back_and_is_named(canary, words):
    found = judged(seen(4000), canary)
    assert found.verdict is Verdict.ROLL_BACK
    assert found.reason.startswith(words)
    assert "after 400 canary requests" in found.reason


def test_a_good_canary_is_promoted_when_there_is_enough_of_everything():
    assert judged(seen(9000), seen(1000)).verdict is Verdict.PROMOTE
    assert judged(seen(900), seen(100)).reason.startswith("too early after 100 canary requests: ")
    # without latency evidence, or with too few of one version, it waits
    assert analyse(seen(9000), seen(1000), Limits()).verdict is Verdict.HOLD
    few = judged(seen(9000), seen(1000), limits=Limits(minimum_requests=1001))
    assert few.verdict is Verdict.HOLD
    assert "1,000 canary and 9,000 stable requests of at least 1,001" in few.reason


@pytest.mark.parametrize("errors", [190, 210])
def test_a_canary_just_beyond_or_within_the_limit_is_open(errors):
    assert judged(seen(90000), seen(10000, errors=errors)).verdict is Verdict.HOLD


def test_a_better_canary_is_no_worse():
    worse = seen(9000, errors=900, seconds=0.3)
    found = judged(worse, seen(1000))
    assert {m.standing for m in found.measures[:3]} == {Standing.WITHIN}


def test_accuracy_decides_where_there_are_labels():
    same = seen(9000), seen(1000)
    # Too few to prove it are taken as they are.
    assert judged(*same, labelled=Pairs(80, 3, 3, 100)).verdict is Verdict.PROMOTE
    assert judged(*same, labelled=Pairs(80, 8, 3, 100)).verdict is Verdict.HOLD
    assert judged(*same, labelled=Pairs(8000, 50, 60, 9000)).verdict is Verdict.PROMOTE
    bad = judged(*same, labelled=Pairs(500, 300, 20, 1000))
    assert bad.verdict is Verdict.ROLL_BACK
    assert bad.reason.startswith("right answers on labelled reviews: 52.0 % against 80.0 %")
    assert len(bad.measures) == len(judged(*same).measures) + 1


@pytest.mark.parametrize("labelled", [None, Pairs(80, 3, 3, 100)])
def test_rollback_asks_for_the_interval_that_is_widened_for_all_measures(labelled):
    counts = Count(0, 4000), Count(9, 200)
    found = judged(seen(4000), seen(200, errors=9), Limits(alpha=0.06), labelled=labelled)
    failed, wide = found.measures[0], 0.06 / len(found.measures)
    assert (failed.stable, failed.canary) == counts
    assert failed.interval == difference_interval(*counts, 0.06)
    assert failed.wide_interval == difference_interval(*counts, wide)


def test_thresholds_are_frozen_from_the_stable_and_judge_only_what_comes_after():
    limits = Limits(answers_for_threshold=200, warm_up_answers=30)
    before = seen(10_000, seconds=5.0)  # of an earlier day: must not matter
    watch = CanaryWatch(limits, before, Observations())
    watch, found = watch.look(added(before, seen(199)), seen(20))
    assert watch.frozen is None
    assert found.measures[1].canary.of == 0
    watch, found = watch.look(added(before, seen(220)), seen(29, seconds=3.0))
    assert watch.frozen is None
    watch, found = watch.look(added(before, seen(250)), seen(30, seconds=0.3))
    assert SECONDS_BUCKETS[watch.frozen.median_edge] == 0.03  # 1.25 * 17.5 ms + 5 ms, upwards
    assert found.measures[1].canary.of == 0
    frozen = watch.frozen
    watch, found = watch.look(
        added(added(before, seen(300)), seen(900, seconds=9.0)), seen(130, seconds=0.3)
    )
    assert watch.frozen == frozen
    assert found.measures[1].stable == Count(900, 950)
    assert found.measures[1].canary == Count(100, 100)
    assert found.stable.requests == 1200
    assert "(30 ms)" in found.measures[1].name


def test_a_latency_beyond_all_buckets_is_still_a_threshold():
    watch = CanaryWatch(Limits(), Observations(), Observations())
    watch, _ = watch.look(seen(300, seconds=29.0), seen(30))
    assert SECONDS_BUCKETS[watch.frozen.p99_edge] == SECONDS_BUCKETS[-1]


def test_an_analysis_is_written_as_json_even_of_nothing():
    for found in (
        judged(seen(900), seen(100), labelled=Pairs(8, 1, 1, 10)),
        analyse(Observations(), Observations(), Limits()),
    ):
        told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert (told["verdict"], told["reason"]) == (found.verdict, found.reason)
        assert [one["name"] for one in told["measures"]] == [one.name for one in found.measures]


def test_at_all_of_the_traffic_the_canary_is_judged_by_what_was_seen_of_the_stable_before():
    watch = CanaryWatch(Limits(), seen(50), seen(20))
    assert watch.evidence(seen(60)) == {}
    watch, _ = watch.look(seen(300), seen(60))
    watch, before = watch.look(seen(9300), seen(1060))
    evidence = json.loads(json.dumps(watch.evidence(seen(9300))))
    later, stable = CanaryWatch.resumed(evidence, seen(5000, errors=100), Limits())
    later, found = later.look(stable, seen(6000, errors=100))
    assert found.stable == before.stable
    assert found.canary.requests == 1000
    assert found.measures[1].stable == before.measures[1].stable == Count(0, 9000)
    assert found.verdict is Verdict.PROMOTE
    slow = added(seen(5000, errors=100), seen(1000, seconds=1.0))
    _, found = later.look(stable, slow)
    assert found.reason.startswith("answers slower than the stable's")


@pytest.mark.parametrize(
    ("interval", "wide", "standing"),
    [
        ((-0.1, 0.1), (-0.2, 0.2), Standing.WITHIN),
        ((-0.11, 0.0), (-0.2, 0.2), Standing.OPEN),
        ((0.11, 0.2), (0.09, 0.3), Standing.OPEN),
        ((0.2, 0.3), (0.11, 0.4), Standing.BEYOND),
        ((-0.3, -0.2), (-0.4, -0.11), Standing.BEYOND),
    ],
)
def test_standing(interval, wide, standing):
    tolerated = Interval(-0.1, 0.1)
    measure = Measure(
        "x", Count(1, 2), Count(1, 2), tolerated, Interval(*interval), Interval(*wide)
    )
    assert measure.standing is standing


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
        classes=SENTIMENTS.counted(round(answered * share) for share in classes),
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
def test_requests_until_a_verdict_at_a_tenth_of_the_traffic(canary, verdict, requests):
    watch = CanaryWatch(Limits(), Observations(), Observations())
    seen, found = 0, Verdict.HOLD
    while found is Verdict.HOLD and seen < 10_000:
        seen += max(1, seen // 50)
        watch, analysis = watch.look(expected(9 * seen), expected(seen, **canary))
        found = analysis.verdict
    assert (found, seen) == (verdict, requests)
