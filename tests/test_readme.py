"""The README's commands that need no cluster, in their order, as a reader types them.

It takes about ten minutes: two real runs on the bundled sample, a server, a site and two rollouts.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("components", "pipelines", "feature_repo", "manifests", "Makefile", "README.md")
RUNS_ON = {
    "make serve": "http://127.0.0.1:8080/v2/health/ready",
    "make site": "",
    "make traffic": "",
    "make ui": "http://127.0.0.1:5000/health",
}
"""Commands that run until they are stopped, and what answers when they are ready."""


def commands(heading: str) -> list[str]:
    """The command lines of the `sh` blocks below a heading."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(f"{heading}\n", 1)[1]
    text = text.split("\n## ")[0].split("\n### ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    return lines.splitlines()


def until(reached: Callable[[], bool], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.5)


class Terminal:
    """A reader's shell in a copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: dict[str, subprocess.Popen] = {}
        venv = Path(sys.executable).parents[1]
        self.environment = os.environ | {"VENV": str(venv), "MAKEFLAGS": f"VENV={venv}"}

    def type(self, line: str) -> str:
        """Run a line to its end, or until what it starts is ready; its output."""
        begun = next((begin for begin in RUNS_ON if line.startswith(begin)), "")
        options = {"cwd": self.folder, "env": self.environment, "shell": True, "text": True}
        if not begun:
            done = subprocess.run(line, check=False, capture_output=True, timeout=900, **options)
            ended = done.returncode == 0 or "was rolled back" in done.stdout
            assert ended, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            return done.stdout
        log = (self.folder / f"{begun[5:]}.log").open("w")
        self.open[begun] = subprocess.Popen(
            line, stdout=log, stderr=log, start_new_session=True, **options
        )
        if RUNS_ON[begun]:
            until(lambda: answers(RUNS_ON[begun]), 120)
        return ""

    def stop(self, begun: str) -> None:
        """Ctrl-C in the terminal of a command."""
        process = self.open.pop(begun)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def terminal(tmp_path) -> Iterator[Terminal]:
    for name in (*COPIED, "pyproject.toml", "constraints.txt"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "constraints.txt"):
        os.utime(tmp_path / name, (0, 0))  # older than the virtual environment: nothing to install
    one = Terminal(tmp_path)
    yield one
    for begun in list(one.open):
        one.stop(begun)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_the_readme_works_from_its_first_command_to_its_last(terminal):
    run, serve = commands("# Review sentiment on Kubeflow")
    assert "report.html" in terminal.type(run)
    terminal.type(serve)
    (ask,) = commands("### Asking the model")
    promised = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = json.loads(re.search(r"```json\n(.*?)```", promised, re.DOTALL)[1])
    answer, promise = json.loads(terminal.type(ask))["predictions"][0], promised["predictions"][0]
    assert answer.keys() == promise.keys()
    assert answer["label"] == promise["label"] == "negative"
    terminal.stop("make serve")

    assert "champion" in terminal.type("make models")
    assert "Run the training pipeline" in terminal.type("make help")
    terminal.type("make ui")
    alias = httpx.get(
        "http://127.0.0.1:5000/api/2.0/mlflow/registered-models/alias",
        params={"name": "review-sentiment", "alias": "champion"},
    )
    assert alias.json()["model_version"]["version"] == "1"
    terminal.stop("make ui")
    assert not list(terminal.folder.glob("mlflow*"))

    for line in commands("### Rolling a new version out"):
        terminal.type(line)
    *_, last = sorted((terminal.folder / "runs").glob("2*"))
    rollout = json.loads((last / "roll-out-model" / "rollout").read_text())
    assert rollout["version"] == "2"
    assert rollout["decision"] in ("promote", "roll_back")
