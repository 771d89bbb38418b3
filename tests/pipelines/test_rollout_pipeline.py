"""The rollout pipeline whole, on one machine: real servers behind nginx, real traffic, faults.

All tests share one site and one registry. Each registers a version of its own and rolls it out
beside whichever serves by then, so that their order does not matter.
"""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.deployment.local.traffic import Review, TrafficCount
from components.registry.versions import Version, promote, show_version
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json
from pipelines.rollout import rollout_pipeline
from pipelines.running.local import Run
from tests.deployment.conftest import needs_nginx
from tests.pipelines.made_up_model import made_up_reviews, trained
from tests.pipelines.small_site import (
    MODEL,
    SmallSite,
    champions,
    environment_below,
    page_of,
    running_site,
    told_by,
    write_labelled,
)

pytestmark = [pytest.mark.slow, needs_nginx]

FAULTY_SERVER = Path(__file__).with_name("faulty_server.py")
REQUESTS_A_SECOND = 120
STEPS = "50,100"
"""Larger than the default first step, which would take a minute at this rate."""
ALLOWANCE_SECONDS = 0.08
"""The clients, the servers and the pipeline share the cores, so that answers come at odd times."""


@dataclass
class World(SmallSite):
    """A site whose servers may have faults.

    Attributes:
        first: How the first version came to serve.
    """

    first: Run = field(init=False)

    @property
    def faults(self) -> Path:
        """The file that says which version has which fault."""
        return self.home / "faults.json"

    def register_faulty(self, model: str, **fault: float) -> str:
        """A new version in the registry, served with a fault."""
        version = self.register(model)
        write_json(self.faults, {**read_json(self.faults), version: fault})
        return version

    def roll_out(self, version: str, **changes: Any) -> Run:
        """Run the pipeline."""
        options = {"steps": STEPS, "look_every_seconds": 1.0, "labelled_reviews": 256}
        options |= {"step_deadline_seconds": 300.0, "latency_allowance_seconds": ALLOWANCE_SECONDS}
        return self.run(rollout_pipeline, version, options=options | changes)

    def busy(self) -> AbstractContextManager[TrafficCount]:
        """Requests for as long as the block runs."""
        return self.traffic(REQUESTS_A_SECOND)

    def wait_for_share(self, version: str, percent: int, within: float = 90.0) -> None:
        """Until a canary gets at least a share of the traffic."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            shown = self.file.in_effect().versions.get(version)
            if shown and shown.port and shown.percent >= percent:
                return
            time.sleep(0.05)
        raise TimeoutError(self.file.explain())

    def server_of(self, version: str) -> int:
        """Process id of a version's server."""
        start = f"{self.file.site_folder}/servers/v{version}-"
        for process in psutil.process_iter(["cmdline"]):
            if any(part.startswith(start) for part in process.info["cmdline"] or []):
                return process.pid
        raise LookupError(version)


@pytest.fixture(scope="module")
def world(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One site and one registry for all tests of this file, with a first version that serves."""
    home = tmp_path_factory.mktemp("rollout")
    faults = home / "faults.json"
    write_json(faults, {})
    # On a machine that does other work too, requests wait rather than being refused.
    server = [sys.executable, str(FAULTY_SERVER), str(faults), "--max-wait-seconds", "30"]
    with (
        environment_below(home),
        running_site(home, "--server", shlex.join(server)) as file,
    ):
        models = {
            "good": trained(tiny_bert, home / "good", shuffled=False),
            "shuffled": trained(tiny_bert, home / "shuffled", shuffled=True),
        }
        labelled = write_labelled(home / "predictions.parquet", made_up_reviews(300, seed=1))
        reviews: list[Review] = [(None, text) for text, _ in made_up_reviews(500, seed=2)]
        made = World(home, file, models, labelled, reviews)
        made.first = made.roll_out(made.register("good"))
        yield made


def outcome(run: Run) -> dict[str, Any]:
    """What the rollout's step wrote."""
    return told_by(run, "roll-out-model", "rollout")


def page(run: Run) -> str:
    """The report."""
    return page_of(run, "roll-out-model")


def registered(version: str) -> Version:
    return show_version(MODEL, version)


def none_lost(count: TrafficCount, answered_by: set[str]) -> None:
    """Each request got an answer with status 200, and the versions that answered are these."""
    assert count.sent == count.answered > 100
    assert count.failed == 0, count
    assert {version for version, _ in count.answers} == answered_by


def was_promoted(world: World, run: Run, version: str, before: str) -> None:
    """All that a promotion leaves behind."""
    told = outcome(run)
    assert told["decision"] == "promote", told["reason"]
    assert told["stable_version"] == before
    assert world.stable() == version
    assert champions() == [version]
    assert registered(version).tags["rollout"] == "promote"
    assert f"Version {version} has taken over" in page(run)


def test_the_first_version_serves_at_once(world: World) -> None:
    told = outcome(world.first)
    assert (told["decision"], told["version"], told["steps"]) == ("first_deployment", "1", [])
    assert registered("1").tags["rollout"] == "first_deployment"
    assert "Version 1 is the first" in page(world.first)
    # The run's folder may go: what serves is the site's own copy.
    (folder,) = (world.file.folder / "models" / MODEL).glob("1-*")
    assert (folder / "model.safetensors").is_file()


def test_a_good_canary_is_promoted_and_no_request_is_lost(world: World) -> None:
    before, version = world.stable(), world.register("good")
    with world.busy() as count:
        run = world.roll_out(version)
        again = world.roll_out(version)
    was_promoted(world, run, version, before)
    none_lost(count, {before, version})
    assert [step["percent"] for step in outcome(run)["steps"]] == [50, 100]
    assert "previous" in registered(before).aliases
    assert outcome(again)["decision"] == "already_serving"
    assert "serves already" in page(again)


@pytest.mark.parametrize(
    ("model", "fault", "measure"),
    [
        ("good", {"errors": 0.3}, "failed requests"),
        ("good", {"seconds": 0.2}, "answers slower than the stable's"),
        ("shuffled", {}, "right answers on labelled reviews"),
    ],
    ids=["errors", "200 ms slower", "trained on shuffled labels"],
)
def test_a_bad_canary_is_rolled_back(
    world: World, model: str, fault: dict[str, float], measure: str
) -> None:
    before, version = world.stable(), world.register_faulty(model, **fault)
    # As the training pipeline leaves it: the champion is what is to be rolled out.
    promote(MODEL, version)
    with world.busy() as count:
        # A slow canary is slow at these too.
        labelled = 64 if "seconds" in fault else 256
        run = world.roll_out("champion", steps="10,50,100", labelled_reviews=labelled)
        failed, sent = count.answers[version, 500], count.sent
        time.sleep(2)
        assert count.sent > sent + REQUESTS_A_SECOND
        assert count.answers[version, 500] == failed
    told = outcome(run)
    assert told["decision"] == "roll_back"
    assert measure in told["reason"]
    assert [step["percent"] for step in told["steps"]] == [10]
    assert world.stable() == before
    assert champions() == [before]
    assert registered(version).tags["rollout"] == "roll_back"
    assert registered(version).tags["rollout_reason"] == told["reason"]
    assert f"Version {version} was rolled back" in page(run)
    assert measure in page(run).replace("&#39;", "'")
    # No request was lost, and nothing failed but what the canary itself failed.
    assert count.sent == count.answered
    assert set(count.answers) <= {(before, 200), (version, 200), (version, 500)}
    assert (failed > 0) == ("errors" in fault)
    # Run again, it is not tried again.
    assert outcome(world.roll_out(version))["decision"] == "roll_back"
    assert world.stable() == before


def test_a_shadow_answers_nobody_until_it_gets_a_share(world: World) -> None:
    before, version = world.stable(), world.register("good")
    heard: list[int] = []

    def listen() -> None:
        while True:
            answers = count.answered_by(version)
            state = world.file.state()
            assert state
            if state.canary == version and state.percent == 0:
                heard.append(answers)
            elif state.canary == version:
                return
            time.sleep(0.02)

    with world.busy() as count:
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        run = world.roll_out(version, steps="0,50,100")
        listener.join(10)
    was_promoted(world, run, version, before)
    none_lost(count, {before, version})
    assert heard
    assert max(heard) == 0
    shadow = outcome(run)["steps"][0]
    assert shadow["percent"] == 0
    assert shadow["analyses"][-1]["canary"]["requests"] > 256 + 100


def test_a_rollout_that_is_killed_goes_on_when_it_is_run_again(world: World) -> None:
    before, version = world.stable(), world.register("good")
    killed: list[int] = []

    def kill() -> None:
        world.wait_for_share(version, 50)
        time.sleep(4)
        for child in psutil.Process().children(recursive=True):
            if "roll_out_model" in " ".join(child.cmdline()):
                child.kill()
                killed.append(child.pid)

    with world.busy() as count:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises(UserError, match="step roll-out-model failed"):
            world.roll_out(version)
        killer.join()
        assert killed
        left = world.file.state()
        assert left
        assert (left.stable, left.canary) == (before, version)
        assert left.percent == 50
        assert "rollout" not in registered(version).tags
        # Another version does not come in between.
        other = world.register("good")
        with pytest.raises(UserError, match=f"is trying version {version} at"):
            world.roll_out(other)
        run = world.roll_out(version)
    was_promoted(world, run, version, before)
    none_lost(count, {before, version})
    assert [step["percent"] for step in outcome(run)["steps"]] == [50, 100]


def test_servers_that_are_killed_come_back_and_the_rollout_goes_on(world: World) -> None:
    before, version = world.stable(), world.register("good")
    killed = []

    def kill() -> None:
        for victim, percent in ((version, 30), (before, 50)):
            world.wait_for_share(version, percent)
            time.sleep(2)
            pid = world.server_of(victim)
            os.kill(pid, signal.SIGKILL)
            killed.append((victim, pid))

    with world.busy() as count:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        run = world.roll_out(version, steps="30,50,100")
        killer.join()
    assert [victim for victim, _ in killed] == [version, before]
    was_promoted(world, run, version, before)
    none_lost(count, {before, version})
    assert world.server_of(version) not in [pid for _, pid in killed]
