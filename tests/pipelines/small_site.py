"""A site of this machine and the registry beside it, for pipelines that change what is served."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.deployment.local.service_file import ServiceFile
from components.deployment.local.traffic import Load, Review, TrafficCount, background_traffic
from components.registry.registration import register
from components.registry.versions import list_versions
from components.shared.machine.files import write_json, write_parquet
from components.shared.records.reviews import PREDICTIONS_SCHEMA
from pipelines.running.environment import local_environment
from pipelines.running.local import Run, run_locally

MODEL = "review-sentiment"


@dataclass
class SmallSite:
    """A site and a registry.

    Attributes:
        home: Folder of everything.
        file: What is served.
        models: Model folders by name.
        labelled: Labelled reviews that each version is registered with.
        reviews: What the traffic sends.
    """

    home: Path
    file: ServiceFile
    models: Mapping[str, Path]
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

    def traffic(self, rate: float) -> AbstractContextManager[TrafficCount]:
        """Requests of other clients for as long as the block runs."""
        return background_traffic(Load(self.file.url, self.reviews, rate))

    def stable(self) -> str:
        """The version that serves, alone."""
        state = self.file.state()
        assert state
        assert state.canary is None
        assert list(self.file.addresses()) == [state.stable]
        return state.stable


@contextmanager
def environment_below(home: Path) -> Iterator[pytest.MonkeyPatch]:
    """All state of the pipelines below a folder; nothing that this machine has set comes in."""
    with pytest.MonkeyPatch.context() as patch:
        for name in local_environment(home):
            patch.setenv(name, "")
        for name, value in local_environment(home / "state").items():
            patch.setenv(name, value)
        yield patch


@contextmanager
def running_site(home: Path, *arguments: str) -> Iterator[ServiceFile]:
    """A site that serves nothing yet; it ends with the block."""
    file = ServiceFile(home / "state" / "site", MODEL)
    command = [sys.executable, "-m", "components.deployment.local.site", "--port", "0"]
    command += ["--state", str(file.folder), *arguments]
    with (home / "site.log").open("w") as log:
        site = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not file.is_served():
            assert site.poll() is None, (home / "site.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield file
    finally:
        site.terminate()
        site.wait(60)


def write_labelled(path: Path, reviews: Sequence[tuple[str, int]]) -> Path:
    """The predictions that a version is registered with, of texts and sentiments."""
    rows = [
        {
            "review_id": str(number),
            "review_body": text,
            "sentiment": sentiment,
            **{"predicted": sentiment, "label": "not looked at"},
            **{"p_negative": 0.0, "p_neutral": 0.0, "p_positive": 1.0},
        }
        for number, (text, sentiment) in enumerate(reviews)
    ]
    write_parquet(path, pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA))
    return path


def told_by(run: Run, step: str, name: str) -> dict[str, Any]:
    """What a step wrote."""
    told: dict[str, Any] = json.loads((run.folder / step / name).read_text())
    return told


def page_of(run: Run, step: str) -> str:
    """A step's report."""
    return (run.folder / step / "report").read_text()


def champions() -> list[str]:
    """Versions that the registry calls champion."""
    return [version.version for version in list_versions(MODEL) if "champion" in version.aliases]
