import re

import pytest

from components.registry.versions import show_version
from pipelines.ab_test import ab_test_pipeline
from pipelines.rollout import rollout_pipeline
from tests.deployment.conftest import needs_nginx
from tests.pipelines.small_site import MODEL, champions, small_site

pytestmark = [pytest.mark.slow, needs_nginx]

PLAN = {"baseline": 0.5, "smallest_effect": 0.3, "reviews_per_second": 30.0}


@pytest.fixture(scope="module")
def site(tiny_bert, tmp_path_factory):
    with small_site(tiny_bert, tmp_path_factory.mktemp("ab")) as made:
        yield made


def served(site, model):
    site.file.delete()
    version = site.register(model)
    site.run(rollout_pipeline, version, service=logging(site))
    return version


def logging(site):
    return {"payload_uri": str(site.home / "payloads")}


def test_the_traffic_shifts_to_the_better_version_and_stays_there(site):
    first = served(site, "shuffled")
    better = site.register("good")
    with site.traffic(20) as count:
        won, page = site.run(ab_test_pipeline, better, options=PLAN)
        worse = site.register("shuffled")
        lost, _ = site.run(ab_test_pipeline, worse, options=PLAN | {"share_b": 30})
    assert won["decision"] == "promote", won["reason"]
    assert (won["stable_version"], won["version"]) == (first, better)
    result = won["result"]
    assert result["winner"] == "B"
    assert result["accuracy"]["difference"] > 0.2
    for arm, needed in zip("ab", result["plan"]["needed"], strict=True):
        assert result["accuracy"][arm][1] >= needed
        assert result["failures"][arm][0] == 0
    assert f"B, version {better}, is better and serves now" in page
    assert (lost["decision"], lost["result"]["winner"]) == ("roll_back", "A")
    assert site.stable() == better
    assert champions() == [better]
    assert show_version(MODEL, worse).tags["rollout"] == "roll_back"
    # Nobody noticed.
    assert count.failed == 0, count
    assert count.sent == count.answered
    assert {version for version, _ in count.answers} == {first, better, worse}


def test_a_shadows_answers_are_compared_in_the_report(site):
    stable = served(site, "good")
    shadow = site.register("shuffled")
    options = {"steps": "0,50,100", "labelled_reviews": 0}
    options |= {"look_every_seconds": 2.0, "step_deadline_seconds": 60.0}
    with site.traffic(40) as count:
        outcome, page = site.run(rollout_pipeline, shadow, options=options, service=logging(site))
    assert outcome["decision"] == "roll_back"
    assert [step["percent"] for step in outcome["steps"]] == [0]
    assert set(count.answers) == {(stable, 200)}
    assert "In the shadow" in page
    same = re.search(r"reviews, ([\d.]+)\s% got the same label", page)
    assert float(same[1]) < 90
    assert "The canary answered a copy of the traffic; its answers were not returned." in page
