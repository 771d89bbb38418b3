"""The rollout pipeline whole, on one machine: real servers behind nginx, real traffic, faults.

All tests share one site and one registry. Each registers a version of its own and rolls it out
beside whichever serves by then, so that their order does not matter.
"""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from components.contracts.errors import UserError
from components.contracts.files import read_json, write_json, write_parquet
from components.contracts.reviews import PREDICTIONS_SCHEMA, TRAINING_SET_SCHEMA
from components.deployment.inference_service import state_of
from components.deployment.local_store import FileServiceStore, server_addresses
from components.deployment.traffic import Review, TrafficCount, background_traffic
from components.registry.registration import register
from components.registry.versions import Version, list_versions, promote, show_version
from pipelines.environment import local_environment
from pipelines.local import Run, run_locally
from pipelines.rollout import rollout_pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")),
        reason="nginx is missing; apt install nginx",
    ),
]

MODEL = "review-sentiment"
FAULTY_SERVER = Path(__file__).with_name("faulty_server.py")
REQUESTS_A_SECOND = 120
STEPS = "50,100"
"""Larger than the default first step, which would take a minute at this rate."""
ALLOWANCE_SECONDS = 0.08
"""The clients, the servers and the pipeline share the cores, so that answers come at odd times."""

WORDS_OF = {
    -1: ("poor", "awful", "itchy", "returned"),
    0: ("okay", "fine", "average"),
    1: ("good", "great", "lovely", "love"),
}
FILLER = ("the", "a", "dress", "top", "is", "it", "and", "fabric", "i", "this", "size", "color")


def made_up_reviews(count: int, seed: int) -> list[tuple[str, int]]:
    """Texts and sentiments; the sentiment shows in two words among others."""
    chance, reviews = random.Random(seed), []
    for number in range(count):
        sentiment = (-1, 0, 1, 1, 1)[number % 5]
        words = chance.choices(FILLER, k=chance.randint(2, 25))
        for _ in range(2):
            words.insert(chance.randint(0, len(words)), chance.choice(WORDS_OF[sentiment]))
        reviews.append((" ".join(words), sentiment))
    chance.shuffle(reviews)
    return reviews


def trained(base_model: Path, folder: Path, *, shuffled: bool) -> Path:
    """A model folder, from the project's own training on made-up reviews."""
    import torch

    from components.contracts.base_model import load_tokenizer
    from components.training.fine_tune import fine_tune
    from components.training.options import TrainingOptions

    tokenizer, rows = load_tokenizer(str(base_model)), []
    for split, count in (("train", 480), ("validation", 100)):
        reviews = made_up_reviews(count, seed=len(split))
        labels = [sentiment for _, sentiment in reviews]
        if shuffled:
            random.Random(0).shuffle(labels)
        for number, ((text, _), sentiment) in enumerate(zip(reviews, labels, strict=True)):
            ids = tokenizer(text)["input_ids"]
            row = {"review_id": f"{split}-{number}", "split": split, "sentiment": sentiment}
            row |= {"rating": 3 + 2 * sentiment, "product_category": "Dresses", "copies": 1}
            rows.append(row | {"input_ids": ids, "n_tokens": len(ids)})
    training_set = folder.with_suffix(".parquet")
    write_parquet(training_set, pa.Table.from_pylist(rows, schema=TRAINING_SET_SCHEMA))
    options = {
        "epochs": 25,
        "patience": 0,
        "learning_rate": 0.01,
        "head_learning_rate": 0.01,
        "min_steps": 0,
    }
    options |= {"frozen_share": 0.0, "freeze_embeddings": False, "average_decay": 0.0}
    options |= {"evaluations_per_epoch": 1, "class_weights": "none", "token_dropout": 0.0}
    # Two threads wait for each other longer than they compute at this size.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fine_tune(training_set, str(base_model), TrainingOptions.from_dict(options), folder)
    finally:
        torch.set_num_threads(threads)
    return folder


@dataclass
class World:
    """A site that serves a first version, and the registry beside it.

    Attributes:
        home: Folder of everything.
        store: The InferenceService.
        models: Model folders by name.
        labelled: Predictions Parquet that each version is registered with.
        reviews: What the traffic sends.
        first: How the first version came to serve.
    """

    home: Path
    store: FileServiceStore
    models: Mapping[str, Path]
    labelled: Path
    reviews: list[Review]
    first: Run = field(init=False)

    @property
    def faults(self) -> Path:
        """The file that says which version has which fault."""
        return self.home / "faults.json"

    def register(self, model: str, **fault: float) -> str:
        """A new version in the registry, served with a fault."""
        write_json(self.home / "summary.json", {"accuracy": 0.9, "macro_f1": 0.9})
        version = register(
            self.models[model],
            self.home / "summary.json",
            self.labelled,
            self.home / "registration.json",
            model_name=MODEL,
            approval="auto",
            facts={"pipeline_run": f"run-{time.time_ns()}"},
        ).version
        write_json(self.faults, {**read_json(self.faults), version: fault})
        return version

    def roll_out(self, version: str, **changes: Any) -> Run:
        """Run the pipeline."""
        parameters = {"version": version, "steps": STEPS, "look_every_seconds": 1.0}
        parameters |= {"step_deadline_seconds": 300.0, "labelled_reviews": 256}
        parameters |= {"limits": {"latency_allowance_seconds": ALLOWANCE_SECONDS}}
        return run_locally(
            rollout_pipeline,
            parameters | changes,
            runs=self.home / "runs",
            state=self.home / "state",
            quiet=True,
        )

    def traffic(self) -> AbstractContextManager[TrafficCount]:
        """Requests for as long as the block runs."""
        service = self.store.read()
        assert service
        return background_traffic(service["status"]["url"], self.reviews, REQUESTS_A_SECOND)

    def stable(self) -> str:
        """The version that serves, alone."""
        service = self.store.read()
        assert service
        state = state_of(service)
        assert state.canary is None
        assert list(server_addresses(service)) == [state.stable]
        return state.stable

    def wait_for_share(self, version: str, percent: int, within: float = 90.0) -> None:
        """Until a canary gets at least a share of the traffic."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            service = self.store.read() or {}
            targets = service["status"]["components"]["predictor"]["traffic"]
            if any(t["revisionName"] == version and t["percent"] >= percent for t in targets):
                return
            time.sleep(0.05)
        raise TimeoutError(self.store.explain())

    def server_of(self, version: str) -> int:
        """Process id of a version's server."""
        for record in (self.store.site_folder / "servers").glob("*.json"):
            told = read_json(record)
            if told["version"] == version:
                return int(told["pid"])
        raise LookupError(version)


@pytest.fixture(scope="module")
def world(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One site and one registry for all tests of this file, with a first version that serves."""
    home = tmp_path_factory.mktemp("rollout")
    with pytest.MonkeyPatch.context() as patch:
        for name in local_environment(home):
            patch.setenv(name, "")
        for name, value in local_environment(home / "state").items():
            patch.setenv(name, value)
        # It takes seconds to measure, and says how fast training could be.
        patch.setattr("components.training.fine_tune.matmul_rate", lambda *_: 1e12)
        models = {
            "good": trained(tiny_bert, home / "good", shuffled=False),
            "shuffled": trained(tiny_bert, home / "shuffled", shuffled=True),
        }
        labelled = home / "predictions.parquet"
        rows = [
            {
                "review_id": str(number),
                "review_body": text,
                "sentiment": sentiment,
                **{"predicted": sentiment, "label": "not looked at"},
                **{"p_negative": 0.0, "p_neutral": 0.0, "p_positive": 1.0},
            }
            for number, (text, sentiment) in enumerate(made_up_reviews(300, seed=1))
        ]
        write_parquet(labelled, pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA))
        reviews: list[Review] = [(None, text) for text, _ in made_up_reviews(500, seed=2)]
        store = FileServiceStore(home / "state" / "site", MODEL)
        made = World(home, store, models, labelled, reviews)
        write_json(made.faults, {})
        server = shlex.join(
            # On a machine that does other work too, requests wait rather than being refused.
            [sys.executable, str(FAULTY_SERVER), str(made.faults), "--max-wait-seconds", "30"]
        )
        command = [sys.executable, "-m", "components.deployment.site", "--port", "0"]
        command += ["--state", str(store.path.parent), "--server", server]
        with (home / "site.log").open("w") as log:
            site = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not store.is_served():
                assert site.poll() is None, (home / "site.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            made.first = made.roll_out(made.register("good"))
            yield made
        finally:
            site.terminate()
            site.wait(60)


def outcome(run: Run) -> dict[str, Any]:
    """What the rollout's step wrote."""
    told: dict[str, Any] = json.loads((run.folder / "roll-out-model" / "rollout").read_text())
    return told


def page(run: Run) -> str:
    """The report."""
    return (run.folder / "roll-out-model" / "report").read_text()


def champion() -> list[str]:
    return [version.version for version in list_versions(MODEL) if "champion" in version.aliases]


def registered(version: str) -> Version:
    return show_version(MODEL, version)


def none_lost(count: TrafficCount, answered_by: set[str]) -> None:
    """Each request got an answer with status 200, and the versions that answered are these."""
    assert count.sent == count.answered > 100
    assert count.failed == 0, count.in_words()
    assert {version for version, _ in count.answers} == answered_by


def was_promoted(world: World, run: Run, version: str, before: str) -> None:
    """All that a promotion leaves behind."""
    told = outcome(run)
    assert told["decision"] == "promote", told["reason"]
    assert told["stable_version"] == before
    assert world.stable() == version
    assert champion() == [version]
    assert registered(version).tags["rollout"] == "promote"
    assert f"Version {version} has taken over" in page(run)


def test_the_first_version_serves_at_once(world: World) -> None:
    told = outcome(world.first)
    assert (told["decision"], told["version"], told["steps"]) == ("first_deployment", "1", [])
    assert registered("1").tags["rollout"] == "first_deployment"
    assert "Version 1 is the first" in page(world.first)
    # The run's folder may go: what serves is the site's own copy.
    (folder,) = (world.store.path.parent / "models" / MODEL).glob("1-*")
    assert (folder / "model.safetensors").is_file()


def test_a_good_canary_is_promoted_and_no_request_is_lost(world: World) -> None:
    before, version = world.stable(), world.register("good")
    with world.traffic() as count:
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
    before, version = world.stable(), world.register(model, **fault)
    # As the training pipeline leaves it: the champion is what is to be rolled out.
    promote(MODEL, version)
    with world.traffic() as count:
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
    assert champion() == [before]
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
            state = state_of(world.store.read() or {})
            if state.canary == version and state.percent == 0:
                heard.append(answers)
            elif state.canary == version:
                return
            time.sleep(0.02)

    with world.traffic() as count:
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

    with world.traffic() as count:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises(UserError, match="step roll-out-model failed"):
            world.roll_out(version)
        killer.join()
        assert killed
        left = state_of(world.store.read() or {})
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

    with world.traffic() as count:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        run = world.roll_out(version, steps="30,50,100")
        killer.join()
    assert [victim for victim, _ in killed] == [version, before]
    was_promoted(world, run, version, before)
    none_lost(count, {before, version})
    assert world.server_of(version) not in [pid for _, pid in killed]
