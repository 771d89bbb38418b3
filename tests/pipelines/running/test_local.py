import contextlib
import json
import re
import sqlite3
from pathlib import Path

import pytest
from kfp import dsl

from components.shared.machine.errors import UserError, exit_in_words
from pipelines.running.local import StepFailed, run_locally
from pipelines.running.pipeline import pipeline


@dsl.component(base_image="steps", install_kfp_package=False)
def count_words(text: str, counted: dsl.Output[dsl.Artifact]) -> int:
    from pathlib import Path

    from components.shared.machine.errors import UserError

    if not text:
        raise UserError("text is empty; give one")
    if text == "killed":
        import os
        import signal

        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "interfered":
        from components.deployment.service import Interfered

        raise Interfered("someone else made version 2 the stable one")
    if text == "not approved":
        from components.shared.machine.errors import NotApproved

        raise NotApproved("version 2 waits for approval")
    if text == "full":
        raise OSError(28, "No space left on device")
    if text == "library":
        raise LookupError(f"no row in {counted.path}\nthere were 3")
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


pytestmark = pytest.mark.usefixtures("plain_environment")


def run_here(home, what=counting, **given):
    return run_locally(what, given, runs=home / "runs", state=home / "state", quiet=True)


def test_a_run_leaves_its_artifacts_and_its_facts(tmp_path):
    run = run_here(tmp_path)
    assert run.artifact("praise", "praised").read_text() == "3 words"
    assert list(run.seconds) == ["count-words", "praise"]
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["parameters"] == {"text": "one two three", "most": 3}
    assert set(facts["step_seconds"]) == {"count-words", "praise"}
    used = facts["step_usage"]["praise"]
    assert 0 < used["cpu_seconds"] < 60
    assert used["peak_bytes"] > 10 * 2**20
    assert facts["price"] > 0
    metrics = (tmp_path / "state" / "metrics" / "counting.prom").read_text()
    assert re.search(r'run_step_cpu_seconds{pipeline="counting",step="praise"} \d', metrics)
    behind_a_false_condition = run_here(tmp_path, text="a b c d").artifact("praise", "praised")
    assert behind_a_false_condition is None


@pytest.mark.parametrize(
    ("pipeline", "given", "words"),
    [
        # Tried once, although the step asks for three retries.
        (counting, {"text": ""}, "step count-words failed: text is empty; give one .all output"),
        (counting, {"text": "interfered"}, "count-words failed: someone else made version 2 the"),
        (counting, {"text": "full"}, "count-words failed: cannot write .No space left.*free some"),
        (counting, {"text": "library"}, "failed: LookupError: no row in .*/counted .all output: "),
        (
            counting,
            {"text": "killed"},
            "failed: its process ended without.*its last line: Killed .all",
        ),
        (counting, {"txt": ""}, "no parameter txt; it has text, most"),
        (comparing_int_with_float, {}, "condition of the pipeline has no value"),
    ],
)
def test_what_cannot_run_is_one_sentence(tmp_path, pipeline, given, words):
    with pytest.raises(UserError, match=words) as caught:
        run_here(tmp_path, pipeline, **given)
    assert (tmp_path / "runs").exists() is ("txt" not in given)
    assert "\n" not in str(caught.value)
    for path in re.findall(rf"{tmp_path}[^ )]+(?= .all|\))", str(caught.value)):
        assert Path(path).parent.exists(), "a path that is printed has to be there afterwards"


@pytest.mark.parametrize(("text", "code"), [("", 2), ("not approved", 5), ("library", 1)])
def test_the_code_of_the_steps_error_is_the_runs(tmp_path, text, code):
    with pytest.raises(StepFailed) as caught:
        run_here(tmp_path, text=text)
    assert (caught.value.step, caught.value.exit_code) == ("count-words", code)


def not_a_folder(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not a folder")


def garbage(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database, only bytes " * 100)


def half(path):
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE numbers (number)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(5000)])
        connection.commit()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 8192 * 4096)


@pytest.mark.parametrize(
    ("where", "spoil", "words"),
    [
        ("runs", not_a_folder, "cannot use .*runs.* a file stands where a folder is wanted"),
        ("state", not_a_folder, "cannot use .*state.* a file stands where a folder is wanted"),
        ("state/mlflow/mlflow.db", garbage, "mlflow.db cannot be used .file is not a database"),
        ("state/mlflow/mlflow.db", half, "mlflow.db cannot be used .*restore it from a copy"),
        ("state/feature_store/registry.db", garbage, "registry.db cannot be used .file is not a"),
        ("state/feature_store/online.db", garbage, "online.db cannot be used .file is not a"),
        ("state/feature_store/online.db", half, "online.db cannot be used .*restore it from"),
    ],
)
def test_a_bad_state_is_one_sentence_before_any_step_runs(tmp_path, capsys, where, spoil, words):
    spoil(tmp_path / where)
    with pytest.raises(SystemExit, match="2"):
        exit_in_words(lambda: run_here(tmp_path))
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("runs/*"))
