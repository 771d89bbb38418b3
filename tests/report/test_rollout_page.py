"""The rollout's page says the verdict first, then each step with its measures."""

from dataclasses import asdict, replace

import pytest

from components.deployment.judging.canary_analysis import CanaryWatch, Limits
from components.deployment.judging.confidence_sequence import Count, Interval
from components.deployment.judging.observations import Observations
from components.deployment.judging.shadow import ShadowComparison
from components.report.rollout_page import write_rollout_page
from components.shared.records.labels import SENTIMENTS
from components.shared.records.serving_metrics import SECONDS_BUCKETS

SHADOW = ShadowComparison(
    Count(188, 200),
    Interval(0.88, 0.97),
    ((18, 1, 0), (3, 20, 2), (1, 5, 150)),
    SENTIMENTS.names,
    *(0.02, 3, 1, 4),
)


def seen(requests, errors=0):
    latency = [0] * (len(SECONDS_BUCKETS) + 1)
    latency[12] = requests - errors
    third = (requests - errors) // 3
    classes = SENTIMENTS.counted([third, third, requests - 2 * third])
    return Observations(requests, errors, 0, tuple(latency), classes)


def step(percent, failing=0.0, looks=3):
    watch = CanaryWatch(Limits(), Observations(), Observations())
    found = []
    for look in range(1, looks + 1):
        canary = seen(500 * look, int(failing * 500 * look))
        labelled = [(True, True)] * 90 + [(True, False), (False, True)] + [(False, False)] * 8
        watch, one = watch.look(seen(4500 * look), canary, labelled * look)
        found.append(one.to_dict())
    last = found[-1]
    for name, latency in (("p50", 0.00861), ("p99", 0.203)):
        last["stable"][name] = last["canary"][name] = latency
    told = {"percent": percent, "seconds": 15.0 * looks, "analyses": found}
    return told | {"verdict": last["verdict"], "reason": last["reason"]}


@pytest.fixture
def page(page_of):
    def read(*steps, decision="promote", reason="all is well", **more):
        rollout = {"decision": decision, "reason": reason, "model_name": "reviews", "version": "8"}
        rollout |= {"stable_version": "7", "mode": "Standard", "steps": list(steps)} | more
        return page_of(write_rollout_page, rollout)

    return read


def test_the_verdict_comes_first_then_steps_and_measures(page):
    steps = step(10, looks=10), step(50, failing=0.2)
    assert [one["verdict"] for one in steps] == ["promote", "roll_back"]
    read = page(*steps, decision="roll_back", reason=steps[1]["reason"])
    read.tells(
        *("Version 8 was rolled back", "Failed requests: 20.0 %", "reviews", "KServe mode"),
        *("version 7", "6,500", "13 looks", "3 min 15 s", "10 → 50 %"),
        *("At 10 % of the traffic: go on", "2 min 30 s, 10 looks", "failed requests"),
        *("within its limit", "the dot has to lie in the green zone", "8.61 ms", "203 ms"),
        *("negative 33 % · neutral 33 % · positive 33 %", "How sure it became"),
        *("At 50 % of the traffic: roll back", "300 of 1,500", "beyond its limit", "Robbins"),
    )
    # The labelled reviews were asked at once: they have no course over the looks.
    assert len(read.charts) == 2 * (7 + 6)
    courses = [chart.findtext("title") for chart in read.charts[-6:]]
    assert courses[0] == "failed requests", "what decided comes first"
    assert "interval over 3 looks" in read.charts[-6].findtext("desc")


ENDS = {"promote": "has taken over", "roll_back": "was rolled back"}
ENDS |= {"first_deployment": "is the first", "already_serving": "serves already"}


@pytest.mark.parametrize(("decision", "title"), ENDS.items())
def test_every_end_has_a_page_also_without_steps(page, decision, title):
    read = page(decision=decision, reason="it never became ready")
    read.tells(f"Version 8 {title}", "It never became ready.", "no traffic step")


def test_a_step_without_looks_or_with_nothing_seen_has_a_page(page):
    blind = {**step(10), "analyses": [], "reason": "nothing was seen of it", "verdict": "hold"}
    nothing = CanaryWatch(Limits(), seen(5), seen(5)).look(seen(5), seen(5))[1].to_dict()
    read = page(blind, {**step(10), "analyses": [nothing, nothing]}, decision="roll_back")
    read.tells("not proven in time", "Nothing was seen of it.", "none")


def test_texts_from_elsewhere_are_escaped(page):
    evil = "<script>alert('x')</script>"
    bad = step(10) | {"reason": evil}
    bad["analyses"][-1]["measures"][0]["name"] = evil
    read = page(bad, reason=evil, model_name=evil, version=evil, shadow=evil)
    assert read.text.count(evil) >= 6


def test_how_a_shadow_answered_is_told(page):
    read = page(shadow=asdict(SHADOW))
    read.tells("94.0 % got the same label (between 88.0 and 97.0 %)", "by 0.020", "18", "150")
    read.tells("3 by the stable, 1 by the canary", "texts differ: 4")
    assert "too little" not in read.text
    few = page(shadow=asdict(replace(SHADOW, agreed=Count(9, 10))))
    assert "fewer than 100 reviews were paired" in few.text
    assert "not in the log" in page(shadow="The answers are not in the log.").text
    assert "shadow" not in page(shadow=None).text
