import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from components.deployment.canary_report import render_canary_report, write_canary_report
from components.deployment.judging.canary_analysis import CanaryWatch, Verdict
from components.deployment.judging.confidence_sequence import Count, Interval, Pairs
from components.deployment.judging.observations import Observations
from components.deployment.judging.shadow_comparison import ShadowComparison
from components.deployment.rollout_record import Decision, Rollout, Step
from components.shared.records.serving_metrics import SECONDS_BUCKETS

VOID = {"meta", "br", "link", "img", "hr"}


class Balanced(HTMLParser):
    """Collects what is opened and not closed, and every address that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(html: str) -> Balanced:
    page = Balanced()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.loaded == []
    assert "script" not in page.tags
    assert "nan" not in re.findall(r'"[^"]*"', html)
    return page


def seen(requests: int, errors: int = 0) -> Observations:
    latency = [0] * (len(SECONDS_BUCKETS) + 1)
    latency[12] = requests - errors
    third = (requests - errors) // 3
    return Observations(requests, errors, 0, tuple(latency), (third, third, requests - 2 * third))


def step(percent: int, failing: float, looks: int = 30) -> Step:
    watch = CanaryWatch.begin(Observations(), Observations())
    found = []
    for look in range(1, looks + 1):
        canary = seen(50 * look, int(failing * 50 * look))
        watch, one = watch.look(seen(450 * look), canary, Pairs(90 * look, look, look, 100 * look))
        found.append(one)
    return Step(percent, 15.0 * looks, found[-1].verdict, found[-1].reason, tuple(found))


def rollout(*steps: Step, decision=Decision.PROMOTE, reason="all is well") -> Rollout:
    return Rollout(decision, reason, "reviews", "8", "7", "Standard", steps)


def test_the_verdict_comes_first_then_steps_and_measures():
    steps = step(10, 0.0, 100), step(50, 0.2)
    assert [one.verdict for one in steps] == [Verdict.PROMOTE, Verdict.ROLL_BACK]
    html = render_canary_report(
        rollout(*steps, decision=Decision.ROLL_BACK, reason=steps[1].reason)
    )
    page = checked(html)
    order = ["Version 8 was rolled back", "Failed requests: 20.0 %", "At 10 %", "At 50 %"]
    places = [html.index(words) for words in order]
    assert places == sorted(places)
    # The labelled reviews were asked at once: they have no course over the looks.
    assert html.count("<svg") == page.tags.count("svg") == 2 * (7 + 6)
    assert html.count("the dot has to lie in the green zone") == 2
    assert "beyond its limit" in html
    assert "300 of 1,500" in html


@pytest.mark.parametrize("decision", list(Decision))
def test_every_end_has_a_page_also_without_steps(decision):
    html = render_canary_report(rollout(decision=decision, reason="it never became ready"))
    checked(html)
    assert "It never became ready." in html


def test_a_step_without_looks_or_with_nothing_seen_has_a_page():
    blind = Step(10, 3600.0, Verdict.HOLD, "nothing was seen of it", ())
    empty = step(10, 0.0, looks=1)
    nothing = replace(
        empty,
        analyses=(
            CanaryWatch.begin(seen(5), seen(5)).look(seen(5), seen(5))[1],
            CanaryWatch.begin(seen(5), seen(5)).look(seen(5), seen(5))[1],
        ),
    )
    html = render_canary_report(rollout(blind, empty, nothing, decision=Decision.ROLL_BACK))
    checked(html)
    assert "Nothing was seen of it." in html


def test_texts_from_elsewhere_are_escaped():
    evil = "<script>alert('x')</script>"
    bad = replace(step(10, 0.0, 2), reason=evil)
    html = render_canary_report(replace(rollout(bad, reason=evil), model_name=evil, version=evil))
    checked(html)
    assert "<script" not in html.lower()
    assert html.count("&lt;script&gt;") >= 4


def test_a_shadow_is_told(tmp_path):
    shadow = ShadowComparison(
        Count(188, 200), Interval(0.88, 0.97), ((18, 1, 0), (3, 20, 2), (1, 5, 150)), 0.02, 3, 1, 4
    )
    path = tmp_path / "report.html"
    write_canary_report(rollout(), path, shadow)
    html = path.read_text(encoding="utf-8")
    checked(html)
    assert "94.0 % got the same label (between 88.0 and 97.0 %)" in html
    assert "3 by the stable, 1 by the canary" in html
