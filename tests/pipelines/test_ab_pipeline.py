"""A/B test and shadow whole, on one machine: real servers of really different models behind nginx.

The worse model is the better one with the rows of its head permuted: it means another class by each
answer. The labels are the better one's answers, a tenth of them made wrong.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.contracts.files import write_json, write_parquet
from components.contracts.reviews import PREDICTIONS_SCHEMA
from components.contracts.text import model_text
from components.deployment.inference_service import state_of
from components.deployment.local_store import FileServiceStore
from components.deployment.traffic import Review, background_traffic
from components.registry.registration import register
from components.registry.versions import list_versions, show_version
from pipelines.ab_test import ab_test_pipeline
from pipelines.environment import local_environment
from pipelines.local import Run, run_locally
from pipelines.rollout import rollout_pipeline
from tests.conftest import WORDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")),
        reason="nginx is missing; apt install nginx",
    ),
]

MODEL = "review-sentiment"
MAX_TOKENS = 32
PLAN = {"baseline": 0.5, "smallest_effect": 0.3, "reviews_per_second": 30.0}


def whole_folder(weights_of: Path, folder: Path, rows: list[int]) -> Path:
    """A model folder whose head has its rows in another order."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(weights_of, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][rows].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "training.json", {"facts": {}, "max_tokens": MAX_TOKENS})
    write_json(folder / "calibration.json", {"temperature": 1.0, "decision_offsets": [0.0] * 3})
    (folder / "model_card.md").write_text("# A tiny model\n")
    return folder


def answers_of(folder: Path, texts: list[str]) -> list[int]:
    """The sentiment that a model gives each text."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    read = tokenizer(
        [model_text(None, text) for text in texts],
        truncation=True,
        max_length=MAX_TOKENS,
        padding=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        return [int(one) - 1 for one in model(**read).logits.argmax(-1)]


@dataclass
class World:
    """A site and a registry.

    Attributes:
        home: Folder of everything.
        store: The InferenceService.
        models: Model folders `better` and `worse`.
        labelled: Labelled reviews that each version is registered with.
        reviews: What other clients send.
    """

    home: Path
    store: FileServiceStore
    models: dict[str, Path]
    labelled: Path
    reviews: list[Review]

    def register(self, model: str) -> str:
        """A new version in the registry."""
        write_json(self.home / "summary.json", {"accuracy": 0.9, "macro_f1": 0.9})
        return register(
            self.models[model],
            self.home / "summary.json",
            self.labelled,
            self.home / "registration.json",
            model_name=MODEL,
            approval="auto",
            facts={"pipeline_run": f"run-{time.time_ns()}"},
        ).version

    def run(self, pipeline: Any, version: str, **parameters: Any) -> Run:
        """Run a pipeline with a version."""
        return run_locally(
            pipeline,
            {"version": version, **parameters},
            runs=self.home / "runs",
            state=self.home / "state",
            quiet=True,
        )

    def serve(self, model: str) -> str:
        """Let a model serve, whatever did before; its version."""
        self.store.delete()
        version = self.register(model)
        self.run(rollout_pipeline, version, payload_uri=str(self.home / "payloads"))
        return version

    def traffic(self, rate: float) -> Any:
        """Requests of other clients for as long as the block runs."""
        service = self.store.read()
        assert service
        return background_traffic(service["status"]["url"], self.reviews, rate)

    def serves(self) -> str:
        """The version that serves alone."""
        state = state_of(self.store.read() or {})
        assert state.canary is None
        return state.stable


@pytest.fixture(scope="module")
def world(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A site that serves nothing yet."""
    home = tmp_path_factory.mktemp("ab")
    with pytest.MonkeyPatch.context() as patch:
        for name in local_environment(home):
            patch.setenv(name, "")
        for name, value in local_environment(home / "state").items():
            patch.setenv(name, value)
        models = {
            "better": whole_folder(tiny_bert, home / "better", [0, 1, 2]),
            "worse": whole_folder(tiny_bert, home / "worse", [1, 2, 0]),
        }
        chance = random.Random(3)
        texts = [
            " ".join(chance.choices(WORDS, k=chance.randint(3, 20))) + f" {number}"
            for number in range(600)
        ]
        rows = []
        for number, (text, right) in enumerate(
            zip(texts, answers_of(models["better"], texts), strict=True)
        ):
            others = [one for one in (-1, 0, 1) if one != right]
            label = chance.choice(others) if chance.random() < 0.1 else right
            row = {"review_id": str(number), "review_body": text, "sentiment": label}
            row |= {"predicted": label, "label": "not looked at"}
            rows.append(row | {"p_negative": 0.0, "p_neutral": 0.0, "p_positive": 1.0})
        labelled = home / "predictions.parquet"
        write_parquet(labelled, pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA))
        store = FileServiceStore(home / "state" / "site", MODEL)
        command = [sys.executable, "-m", "components.deployment.site", "--port", "0"]
        command += ["--state", str(store.path.parent)]
        with (home / "site.log").open("w") as log:
            site = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not store.is_served():
                assert site.poll() is None, (home / "site.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield World(home, store, models, labelled, [(None, text) for text in texts])
        finally:
            site.terminate()
            site.wait(60)


def told_by(run: Run, step: str, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((run.folder / step / name).read_text())
    return told


def champions() -> list[str]:
    return [version.version for version in list_versions(MODEL) if "champion" in version.aliases]


def test_the_traffic_shifts_to_the_better_version_and_stays_there(world: World) -> None:
    first = world.serve("worse")
    better = world.register("better")
    with world.traffic(20) as count:
        won = world.run(ab_test_pipeline, better, **PLAN)
        worse = world.register("worse")
        lost = world.run(ab_test_pipeline, worse, **PLAN, share_b=30)
    told = told_by(won, "run-ab-test", "ab_test")
    assert told["decision"] == "promote", told["reason"]
    assert (told["stable_version"], told["version"]) == (first, better)
    found = told["result"]
    assert found["winner"] == "B"
    assert found["accuracy"]["difference"] > 0.5
    for arm, needed in zip("ab", found["plan"]["needed"], strict=True):
        assert found["accuracy"][arm][1] >= needed
        assert found["failures"][arm][0] == 0
    page = (won.folder / "run-ab-test" / "report").read_text()
    assert f"B, version {better}, is better and serves now" in page
    told = told_by(lost, "run-ab-test", "ab_test")
    assert (told["decision"], told["result"]["winner"]) == ("roll_back", "A")
    assert world.serves() == better
    assert champions() == [better]
    assert show_version(MODEL, worse).tags["rollout"] == "roll_back"
    # Nobody noticed.
    assert count.failed == 0, count.in_words()
    assert count.sent == count.answered
    assert {version for version, _ in count.answers} == {first, better, worse}


def test_a_shadows_answers_are_compared_in_the_report(world: World) -> None:
    stable = world.serve("better")
    shadow = world.register("worse")
    with world.traffic(40) as count:
        run = world.run(
            rollout_pipeline,
            shadow,
            steps="0,50,100",
            labelled_reviews=0,
            look_every_seconds=2.0,
            step_deadline_seconds=60.0,
            payload_uri=str(world.home / "payloads"),
        )
    told = told_by(run, "roll-out-model", "rollout")
    assert told["decision"] == "roll_back"
    assert [step["percent"] for step in told["steps"]] == [0]
    assert set(count.answers) == {(stable, 200)}
    page = (run.folder / "roll-out-model" / "report").read_text()
    assert "In the shadow" in page
    assert "reviews, 0.0 % got the same label" in page
    assert "The canary answered a copy of the traffic; its answers were not returned." in page
