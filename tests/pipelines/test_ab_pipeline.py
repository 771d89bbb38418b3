"""A/B test and shadow whole, on one machine: real servers of really different models behind nginx.

The worse model is the better one with the rows of its head permuted: it means another class by each
answer. The labels are the better one's answers, a tenth of them made wrong.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.registry.versions import show_version
from components.shared.machine.files import write_json
from components.shared.records.text import model_text
from pipelines.ab_test import ab_test_pipeline
from pipelines.rollout import rollout_pipeline
from tests.conftest import WORDS
from tests.deployment.conftest import needs_nginx
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


class World(SmallSite):
    """A site with the models `better` and `worse`."""

    @property
    def logging(self) -> dict[str, str]:
        """Settings of a service that logs what it answers."""
        return {"payload_uri": str(self.home / "payloads")}

    def serve(self, model: str) -> str:
        """Let a model serve, whatever did before; its version."""
        self.file.delete()
        version = self.register(model)
        self.run(rollout_pipeline, version, service=self.logging)
        return version


@pytest.fixture(scope="module")
def world(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A site that serves nothing yet."""
    home = tmp_path_factory.mktemp("ab")
    with environment_below(home), running_site(home) as file:
        models = {
            "better": whole_folder(tiny_bert, home / "better", [0, 1, 2]),
            "worse": whole_folder(tiny_bert, home / "worse", [1, 2, 0]),
        }
        chance = random.Random(3)
        texts = [
            " ".join(chance.choices(WORDS, k=chance.randint(3, 20))) + f" {number}"
            for number in range(600)
        ]
        labels = [
            chance.choice([one for one in (-1, 0, 1) if one != right])
            if chance.random() < 0.1
            else right
            for right in answers_of(models["better"], texts)
        ]
        labelled = write_labelled(
            home / "predictions.parquet", list(zip(texts, labels, strict=True))
        )
        yield World(home, file, models, labelled, [(None, text) for text in texts])


def test_the_traffic_shifts_to_the_better_version_and_stays_there(world: World) -> None:
    first = world.serve("worse")
    better = world.register("better")
    with world.traffic(20) as count:
        won = world.run(ab_test_pipeline, better, options=PLAN)
        worse = world.register("worse")
        lost = world.run(ab_test_pipeline, worse, options=PLAN | {"share_b": 30})
    told = told_by(won, "run-ab-test", "ab_test")
    assert told["decision"] == "promote", told["reason"]
    assert (told["stable_version"], told["version"]) == (first, better)
    found = told["result"]
    assert found["winner"] == "B"
    assert found["accuracy"]["difference"] > 0.5
    for arm, needed in zip("ab", found["plan"]["needed"], strict=True):
        assert found["accuracy"][arm][1] >= needed
        assert found["failures"][arm][0] == 0
    page = page_of(won, "run-ab-test")
    assert f"B, version {better}, is better and serves now" in page
    told = told_by(lost, "run-ab-test", "ab_test")
    assert (told["decision"], told["result"]["winner"]) == ("roll_back", "A")
    assert world.stable() == better
    assert champions() == [better]
    assert show_version(MODEL, worse).tags["rollout"] == "roll_back"
    # Nobody noticed.
    assert count.failed == 0, count
    assert count.sent == count.answered
    assert {version for version, _ in count.answers} == {first, better, worse}


def test_a_shadows_answers_are_compared_in_the_report(world: World) -> None:
    stable = world.serve("better")
    shadow = world.register("worse")
    with world.traffic(40) as count:
        run = world.run(
            rollout_pipeline,
            shadow,
            options={
                "steps": "0,50,100",
                "labelled_reviews": 0,
                "look_every_seconds": 2.0,
                "step_deadline_seconds": 60.0,
            },
            service=world.logging,
        )
    told = told_by(run, "roll-out-model", "rollout")
    assert told["decision"] == "roll_back"
    assert [step["percent"] for step in told["steps"]] == [0]
    assert set(count.answers) == {(stable, 200)}
    page = page_of(run, "roll-out-model")
    assert "In the shadow" in page
    assert "reviews, 0.0 % got the same label" in page
    assert "The canary answered a copy of the traffic; its answers were not returned." in page
