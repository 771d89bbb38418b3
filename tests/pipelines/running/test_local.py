import json
import os
from pathlib import Path

import pytest
from kfp import dsl

from components.shared.machine.errors import UserError
from pipelines.running.environment import local_environment
from pipelines.running.local import run_locally
from pipelines.running.pipeline import pipeline


@dsl.component(base_image="steps", install_kfp_package=False)
def count_words(text: str, counted: dsl.Output[dsl.Artifact]) -> int:
    from pathlib import Path

    from components.shared.machine.errors import UserError

    if not text:
        raise UserError("text is empty; give one")
    Path(counted.path).write_text(text)
    return len(text.split())


@dsl.component(base_image="steps", install_kfp_package=False)
def praise(words: int, praised: dsl.Output[dsl.Artifact]) -> None:
    from pathlib import Path

    Path(praised.path).write_text(f"{words} words")


@pipeline(name="counting", description="")
def counting(text: str = "one two three", most: int = 3) -> None:
    counted = count_words(text=text).set_retry(3, backoff_duration="60s")
    with dsl.If(counted.outputs["Output"] <= most):
        praise(words=counted.outputs["Output"])


@pipeline(name="unresolved", description="")
def comparing_int_with_float(most: float = 3.0) -> None:
    counted = count_words(text="one")
    with dsl.If(counted.outputs["Output"] <= most):
        praise(words=counted.outputs["Output"])


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """run_locally sets variables for its steps: let none outlive a test."""
    for name in local_environment(Path("state")):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def run_here(home, what=counting, **given):
    return run_locally(what, given, runs=home / "runs", state=home / "state", quiet=True)


def test_a_run_leaves_its_artifacts_and_its_facts(tmp_path):
    run = run_here(tmp_path)
    assert run.artifact("praise", "praised").read_text() == "3 words"
    assert list(run.seconds) == ["count-words", "praise"]
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["parameters"] == {"text": "one two three", "most": 3}
    assert set(facts["step_seconds"]) == {"count-words", "praise"}
    behind_a_false_condition = run_here(tmp_path, text="a b c d").artifact("praise", "praised")
    assert behind_a_false_condition is None


@pytest.mark.parametrize(
    ("pipeline", "given", "words"),
    [
        # Tried once, although the step asks for three retries.
        (counting, {"text": ""}, "step count-words failed: text is empty; give one"),
        (counting, {"txt": ""}, "no parameter txt; it has text, most"),
        (comparing_int_with_float, {}, "condition of the pipeline has no value"),
    ],
)
def test_what_cannot_run_is_one_sentence(tmp_path, pipeline, given, words):
    with pytest.raises(UserError, match=words):
        run_here(tmp_path, pipeline, **given)
    assert (tmp_path / "runs").exists() is ("txt" not in given)
