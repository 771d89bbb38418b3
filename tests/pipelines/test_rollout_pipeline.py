"""The rollout pipeline whole, on one machine: real servers behind nginx, real traffic, faults.

All tests share one site and one registry. Each registers a version of its own and rolls it out
beside whichever serves by then, so that their order does not matter.
"""

import threading
import time

import psutil
import pytest

from components.registry.versions import promote, show_version
from components.shared.machine.errors import UserError
from pipelines.rollout import rollout_pipeline
from tests.deployment.conftest import needs_nginx, until
from tests.pipelines.small_site import MODEL, champions, small_site

pytestmark = [pytest.mark.slow, needs_nginx]

REQUESTS_A_SECOND = 120
# The first share is larger than the default, which would take a minute at this rate. The clients,
# the servers and the pipeline share the cores, so that answers come at odd times.
OPTIONS = {"steps": "50,100", "look_every_seconds": 1.0, "labelled_reviews": 256}
OPTIONS |= {"step_deadline_seconds": 300.0, "latency_allowance_seconds": 0.08}


def rolled_out(site, version, **changes):
    return site.run(rollout_pipeline, version, options=OPTIONS | changes)


@pytest.fixture(scope="module")
def site(tiny_bert, tmp_path_factory):
    with small_site(tiny_bert, tmp_path_factory.mktemp("rollout")) as made:
        made.first, made.first_page = rolled_out(made, made.register("good"))
        yield made


@pytest.fixture
def before(site):
    return site.stable()


def was_promoted(site, outcome, version, before, count):
    """All that a promotion leaves behind; each request got an answer of one of the two versions."""
    assert outcome["decision"] == "promote", outcome["reason"]
    assert outcome["stable_version"] == before
    assert site.stable() == version
    assert champions() == [version]
    assert show_version(MODEL, version).tags["rollout"] == "promote"
    assert count.sent == count.answered > 100
    assert set(count.answers) == {(before, 200), (version, 200)}, count


def test_the_first_version_serves_at_once(site):
    made = {"decision": "first_deployment", "version": "1", "steps": []}
    assert made.items() <= site.first.items()
    assert show_version(MODEL, "1").tags["rollout"] == "first_deployment"
    assert "Version 1 is the first" in site.first_page
    # The run's folder may go: what serves is the site's own copy.
    (folder,) = (site.file.folder / "models" / MODEL).glob("1-*")
    assert (folder / "model.safetensors").is_file()


def test_a_good_canary_is_promoted_and_no_request_is_lost(site, before):
    version = site.register("good")
    with site.traffic(REQUESTS_A_SECOND) as count:
        outcome, page = rolled_out(site, version)
        again, page_again = rolled_out(site, version)
    was_promoted(site, outcome, version, before, count)
    assert f"Version {version} has taken over" in page
    assert [step["percent"] for step in outcome["steps"]] == [50, 100]
    assert "previous" in show_version(MODEL, before).aliases
    assert again["decision"] == "already_serving"
    assert "serves already" in page_again


@pytest.mark.parametrize(
    ("model", "fault", "measure"),
    [
        ("good", {"errors": 0.3}, "failed requests"),
        ("good", {"seconds": 0.2}, "answers slower than the stable's"),
        ("shuffled", {}, "right answers on labelled reviews"),
    ],
)
def test_a_bad_canary_is_rolled_back(site, before, model, fault, measure):
    version = site.register(model, **fault)
    # As the training pipeline leaves it: the champion is what is to be rolled out.
    promote(MODEL, version)
    with site.traffic(REQUESTS_A_SECOND) as count:
        # A slow canary is slow at these too.
        labelled = 64 if "seconds" in fault else 256
        outcome, page = rolled_out(site, "champion", steps="10,50,100", labelled_reviews=labelled)
        failed, sent = count.answers[version, 500], count.sent
        time.sleep(2)
        assert count.sent > sent + REQUESTS_A_SECOND
        assert count.answers[version, 500] == failed
    assert outcome["decision"] == "roll_back"
    assert measure in outcome["reason"]
    assert [step["percent"] for step in outcome["steps"]] == [10]
    assert site.stable() == before
    assert champions() == [before]
    tags = show_version(MODEL, version).tags
    assert (tags["rollout"], tags["rollout_reason"]) == ("roll_back", outcome["reason"])
    assert f"Version {version} was rolled back" in page
    assert measure in page.replace("&#39;", "'")
    # No request was lost, and nothing failed but what the canary itself failed.
    assert count.sent == count.answered
    assert set(count.answers) <= {(before, 200), (version, 200), (version, 500)}
    assert (failed > 0) == ("errors" in fault)
    # Run again, it is not tried again.
    assert rolled_out(site, version)[0]["decision"] == "roll_back"
    assert site.stable() == before


def test_a_rollout_that_is_killed_goes_on_when_it_is_run_again(site, before):
    version, killed = site.register("good"), []

    def kill():
        until(lambda: site.percent_of(version) >= 50, 90)
        time.sleep(4)
        for child in psutil.Process().children(recursive=True):
            if "roll_out_model" in " ".join(child.cmdline()):
                child.kill()
                killed.append(child.pid)

    with site.traffic(REQUESTS_A_SECOND) as count:
        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        with pytest.raises(UserError, match="step roll-out-model failed"):
            rolled_out(site, version)
        thread.join()
        assert killed
        left = site.file.state()
        assert (left.stable, left.canary, left.percent) == (before, version, 50)
        assert "rollout" not in show_version(MODEL, version).tags
        # Another version does not come in between.
        with pytest.raises(UserError, match=f"is trying version {version} at"):
            rolled_out(site, site.register("good"))
        outcome, _ = rolled_out(site, version)
    was_promoted(site, outcome, version, before, count)
    assert [step["percent"] for step in outcome["steps"]] == [50, 100]
