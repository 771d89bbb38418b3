"""The whole loop with a tiny model and real services, killed twice on its way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from components.review.label_studio.process import installed_python
from components.shared.machine.errors import UserError
from components.shared.records.resolved_labels import read_resolved
from components.shared.records.votes import read_votes

TRAINING = (
    "--max-tokens 64 --hyperparameters epochs=4 learning_rate=0.003 "
    "--macro-f1-threshold 0 --accuracy-threshold 0 --champion-margin 1"
)


def is_installed() -> bool:
    try:
        return bool(installed_python())
    except UserError:
        return False


def started(folder: Path, base_model: Path, log: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "pipelines.running.loop", "--folder", str(folder)]
    command += ["--items", "60", "--training", f"--base-model {base_model} {TRAINING}"]
    with log.open("ab") as stream:
        return subprocess.Popen(
            command, stdout=stream, stderr=stream, start_new_session=True, env=dict(os.environ)
        )


def killed_when(reached, folder: Path, base_model: Path, log: Path) -> None:
    """Run the loop until something holds, then end it and its steps as a power cut would."""
    process = started(folder, base_model, log)
    while not reached():
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
@pytest.mark.skipif(not is_installed(), reason="needs Label Studio: make review-install")
def test_a_drift_ends_in_a_new_version_although_it_is_killed_on_its_way(tmp_path, tiny_bert):
    folder, log = tmp_path / "loop", tmp_path / "log.txt"

    killed_when(lambda: re.search(r"[1-9]\d* votes \[", log.read_text()), folder, tiny_bert, log)
    killed_when(lambda: is_training_again(folder), folder, tiny_bert, log)
    last = started(folder, tiny_bert, log)
    assert last.wait(1500) == 0, log.read_text()[-3000:]

    story = json.loads((folder / "story.json").read_text())
    chapters = {one["name"]: one for one in story["chapters"]}
    assert list(chapters) == [
        *("data", "first_model", "serving", "traffic"),
        *("first_turn", "people", "second_turn"),
    ]
    assert chapters["first_turn"]["figures"]["action"] == "ask for labels"
    assert chapters["first_turn"]["figures"]["verdict"] == "drifted"
    second = chapters["second_turn"]["figures"]
    assert second["action"] == "retrain"
    assert second["rollout"]["version"] == "2"
    assert second["rollout"]["decision"] in ("promote", "roll_back")
    assert second["live_accuracy"]["labels"] >= 30

    state = folder / "state" / "review"
    votes = read_votes(state / "votes").to_pylist()
    each = Counter((one["item_id"], one["annotator"]) for one in votes if one["event"] == "voted")
    assert max(each.values()) == 1, "no vote counts twice"
    assert second["labels"] == sum(
        n > 0 for n in read_resolved(state / "resolved")["votes"].to_pylist()
    )
    assert "has taken over" in (folder / "report.html").read_text() or (
        second["rollout"]["decision"] == "roll_back"
    )


def is_training_again(folder: Path) -> bool:
    """Whether the training of the second turn is under way."""
    logs = [log.read_text() for log in folder.glob("runs/*/log.txt")]
    return any("decide-retraining" in log and "task 'fine-tune-classifier'" in log for log in logs)
