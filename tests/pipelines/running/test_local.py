import json
from pathlib import Path

import pytest
from kfp import dsl

from components.shared.machine.errors import UserError
from pipelines.running.local import Run, run_locally
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


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """run_locally sets variables for its steps: let none outlive a test."""
    import os

    from pipelines.running.environment import local_environment

    for name in local_environment(Path("state")):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def run_here(home: Path, what=counting, **given: str) -> Run:
    return run_locally(what, given, runs=home / "runs", state=home / "state", quiet=True)


def test_a_run_leaves_its_artifacts_and_its_facts(tmp_path: Path) -> None:
    run = run_here(tmp_path)
    assert run.artifact("praise", "praised").read_text() == "3 words"
    assert list(run.seconds) == ["count-words", "praise"]
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["parameters"] == {"text": "one two three", "most": 3}
    assert set(facts["step_seconds"]) == {"count-words", "praise"}


def test_a_step_behind_a_false_condition_does_not_run(tmp_path: Path) -> None:
    assert run_here(tmp_path, text="a b c d").artifact("praise", "praised") is None


def test_a_failed_step_is_one_sentence_and_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step count-words failed: text is empty; give one"):
        run_here(tmp_path, text="")


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no parameter txt; it has text, most"):
        run_here(tmp_path, txt="")
    assert not (tmp_path / "runs").exists()


@pipeline(name="unresolved", description="")
def comparing_int_with_float(most: float = 3.0) -> None:
    counted = count_words(text="one")
    with dsl.If(counted.outputs["Output"] <= most):
        praise(words=counted.outputs["Output"])


def test_a_condition_that_kfp_cannot_evaluate_is_an_error_not_a_closed_gate(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="condition of the pipeline has no value"):
        run_here(tmp_path, comparing_int_with_float)
