"""What a loop runs beside its pipelines: a site that serves, clients that ask, and its commands."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.deployment.local.service_file import ServiceFile
from components.deployment.local.traffic import (
    Load,
    TrafficCount,
    background_traffic,
    read_reviews,
)
from components.shared.machine.errors import UserError

_READY_SECONDS = 120.0
_BUSY_WHILE_TRAINING = 0.1


@dataclass(frozen=True)
class Scene:
    """The folders of a loop, and what is common to all that runs in it.

    Attributes:
        folder: Folder of the loop: state, runs, log and story.
        model_name: Name in the registry and of the service.
        rate: Requests a second.
    """

    folder: Path
    model_name: str
    rate: float

    @property
    def state(self) -> Path:
        """What outlives a run."""
        return self.folder / "state"

    @property
    def runs(self) -> Path:
        """Folders of the runs."""
        return self.folder / "runs"

    @property
    def log(self) -> Path:
        """The payload log."""
        return self.folder / "payloads"

    @property
    def today(self) -> Path:
        """The reviews that clients ask about."""
        return self.folder / "today.parquet"

    def run(self, pipeline: str, *words: str, may_end: Sequence[int] = (0,)) -> Path:
        """Run a pipeline to its end, as the command line does; the folder of its run.

        Raises:
            UserError: If it ended with another exit code than those that it may end with.
        """
        before = set(self.runs.glob("2*"))
        command = [sys.executable, "-m", "pipelines.running.run", pipeline, *words]
        command += ["--model-name", self.model_name]
        command += ["--state", str(self.state), "--runs", str(self.runs)]
        done = subprocess.run(command, check=False)  # noqa: S603 (our own program)
        made = sorted(set(self.runs.glob("2*")) - before)
        if done.returncode not in may_end or not made:
            raise UserError(
                f"the pipeline {pipeline} ended with code {done.returncode}, as said above; "
                "the same command goes on from here"
            )
        return made[-1]

    @contextmanager
    def site(self) -> Iterator[ServiceFile]:
        """Serve behind a splitter while the block runs; what served before serves again."""
        file = ServiceFile(self.state / "site", self.model_name)
        command = [sys.executable, "-m", "components.deployment.local.site", "--port", "0"]
        command += ["--state", str(file.folder), "--name", self.model_name]
        end_leftovers(command)
        with (self.folder / "site.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 (our own program)
                command, stdout=log, stderr=log, start_new_session=True
            )
            try:
                until(lambda: process.poll() is not None or file.is_served(), _READY_SECONDS)
                if process.poll() is not None or not file.is_served():
                    raise UserError(f"the site did not start; {self.folder / 'site.log'} says why")
                yield file
            finally:
                process.terminate()
                process.wait(60)

    @contextmanager
    def clients(self, file: ServiceFile, busy: float = 1.0) -> Iterator[TrafficCount]:
        """Clients that ask about today's reviews, over and over, at a share of the rate."""
        reviews, rate = read_reviews(self.today), busy * self.rate
        load = Load(file.url, reviews, rate, model_name=self.model_name, timeout_seconds=120)
        with background_traffic(load) as count:
            yield count

    @contextmanager
    def clients_of_a_canary(self, file: ServiceFile) -> Iterator[None]:
        """Few clients until there is a canary, then all of them: training needs the cores."""
        ended = threading.Event()

        def send() -> None:
            with self.clients(file, _BUSY_WHILE_TRAINING):
                while file.state().canary is None and not ended.wait(1):
                    pass
            with self.clients(file):
                ended.wait()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            yield
        finally:
            ended.set()
            sender.join()


def until(reached: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds, at most so many seconds; whether it does."""
    ends = time.monotonic() + seconds
    while not (holds := reached()) and time.monotonic() < ends:
        time.sleep(0.5)
    return holds


def end_leftovers(command: Sequence[str]) -> None:
    """End processes with this command line that a loop which was killed left behind."""
    import psutil

    left = [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == list(command)]
    for process in left:
        process.terminate()
    psutil.wait_procs(left, timeout=60)


def given_as(parameters: dict[str, Any]) -> list[str]:
    """Options of a `dict` parameter as words of the command line."""
    return [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
