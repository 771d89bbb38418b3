"""One model server as a process of this machine: started, awaited, adopted, ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from components.deployment.local.service_file import ServedModel
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    import psutil

_LAST_LINES = 15

ServerCommand = Callable[[ServedModel, Path], Sequence[str]]
"""The command that serves a model on a free port of 127.0.0.1 and writes the port to a file."""

OUR_SERVER = (sys.executable, "-m", "components.serving")
"""Our own model server."""


def serving_command(
    model: ServedModel, port_file: Path, program: Sequence[str] = OUR_SERVER
) -> list[str]:
    """The command of our own model server, on this machine only and without gRPC.

    The last of an argument that is given twice counts, so the model's own come first. The tests
    plant faults with another program that takes the arguments of ours.
    """
    return [
        *(*program, *model.arguments),
        *("--model-dir", model.folder, "--model-name", model.name),
        *("--model-version", model.version, "--host", "127.0.0.1", "--grpc-port", "0"),
        *("--http-port", "0", "--port-file", str(port_file)),
    ]


class ModelProcess:
    """A model server's process.

    Attributes:
        model: What it serves.
        id: Name of this one process; another start of the same model has another.
        pid: Process id of the operating system.
        log_file: What it printed.
    """

    def __init__(
        self,
        model: ServedModel,
        folder: Path,
        identity: str,
        process: "subprocess.Popen[bytes] | psutil.Process",
    ) -> None:
        """Stand for a process that runs: one that `start` started, or one of `left_in`."""
        self.model = model
        self.id = identity
        self.pid = process.pid
        self.log_file = folder / f"{identity}.log"
        self._port_file = folder / f"{identity}.port"
        self._process = process

    @classmethod
    def start(
        cls,
        model: ServedModel,
        folder: Path,
        command: ServerCommand = serving_command,
        *,
        own_session: bool = False,
    ) -> "ModelProcess":
        """Start a server, with its log and port file in a folder.

        In a session of its own it is spared the signals of our terminal and our process group, so
        that we can end it in our own time.
        """
        folder.mkdir(parents=True, exist_ok=True)
        identity = f"{model.key}-{uuid4().hex[:6]}"
        with (folder / f"{identity}.log").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 (a list of arguments, not shell text)
                command(model, folder / f"{identity}.port"),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=own_session,
                env={
                    **os.environ,
                    **{"MODEL_VERSION": model.version, "MODEL_DIGEST": model.digest},
                    "PYTHONWARNINGS": "ignore",
                },
            )
        return cls(model, folder, identity, child)

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs or where it is not ours."""
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else None

    def is_running(self) -> bool:
        """Whether the process is there, and not only as a zombie."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll() is None
        import psutil

        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @property
    def port(self) -> int | None:
        """The port that it listens on, once it says so."""
        try:
            port = int(self._port_file.read_text())
        except (OSError, ValueError):
            return None
        return port if 0 < port < 2**16 else None

    def is_ready(self, timeout: float = 5.0) -> bool:
        """Whether it says that its model is ready."""
        if (port := self.port) is None:
            return False
        with (
            suppress(OSError, HTTPException),
            closing(HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection,
        ):
            connection.request("GET", f"/v2/models/{self.model.name}/ready")
            answer = connection.getresponse()
            answer.read()  # a connection that is closed before is an error to the server
            return answer.status == 200
        return False

    def wait_until_ready(self, within: float) -> int:
        """Its port, once it is ready.

        Raises:
            UserError: If it ends before, or is not ready in time, with its last lines.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not self.is_running():
                raise UserError(
                    f"the model server ended with code {self.exit_code} before it was ready: "
                    f"{self.last_lines()}"
                )
            if (port := self.port) is not None and self.is_ready():
                return port
            time.sleep(0.1)
        raise UserError(
            f"the model server was not ready within {within:.0f} s: {self.last_lines()}"
        )

    def last_lines(self) -> str:
        """The end of what it printed, on one line."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(max(0, self.log_file.stat().st_size - 20_000))
                lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-_LAST_LINES:]) or "it printed nothing"

    def terminate(self) -> None:
        """Ask it to end as Kubernetes does: by SIGTERM, upon which it drains."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and reap it if it is ours."""
        self._signal(signal.SIGKILL)
        if isinstance(self._process, subprocess.Popen):
            self._process.wait()

    def end(self, within: float = 60.0) -> None:
        """End it by SIGTERM and wait.

        Raises:
            UserError: If it does not end in time, or not well.
        """
        self.terminate()
        deadline = time.monotonic() + within
        while self.is_running():
            if time.monotonic() >= deadline:
                raise UserError(f"the model server did not end within {within:.0f} s of SIGTERM")
            time.sleep(0.02)
        if self.exit_code not in (None, 0, -signal.SIGTERM):
            raise UserError(f"the model server ended with code {self.exit_code} after SIGTERM")

    def _signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        import psutil

        with suppress(psutil.Error):
            self._process.send_signal(number)  # does nothing to a child that was reaped


def left_in(folder: Path, models: Mapping[str, ServedModel]) -> Iterator[ModelProcess]:
    """The servers that were started in a folder by a supervisor that was killed.

    Args:
        folder: Folder that they were started in, by which they are recognised.
        models: What they may serve, by key; what another one serves is not known any more.
    """
    import psutil

    seen = set()
    # A server may have been started by a script that was given the same arguments: that one counts.
    running = psutil.process_iter(["cmdline", "create_time"])
    for process in sorted(running, key=lambda process: process.info["create_time"] or 0.0):
        for part in map(Path, process.info["cmdline"] or []):
            if part.parent == folder and part.suffix == ".port" and part not in seen:
                seen.add(part)
                unknown = ServedModel("unknown", "a folder that is not known", part.stem)
                model = models.get(part.stem.rpartition("-")[0], unknown)
                yield ModelProcess(model, folder, part.stem, process)


def bound_log(log_file: Path, most: int = 50_000_000) -> None:
    """Begin a log anew once it has so many bytes; the one before stays as `.log.1`."""
    with suppress(OSError):
        if log_file.stat().st_size > most:
            shutil.copyfile(log_file, log_file.with_suffix(".log.1"))
            # The process appends, so it goes on at the new end.
            os.truncate(log_file, 0)
