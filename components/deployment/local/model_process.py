"""One model server as a process of this machine: started, awaited, adopted, ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter

from components.deployment.local.service_file import ServedModel
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json

_LAST_LINES = 15

ServerCommand = Callable[[ServedModel, Path], Sequence[str]]
"""The command that serves a model on a free port of 127.0.0.1 and writes the port to a file."""

OUR_SERVER = (sys.executable, "-m", "components.serving")
"""Our own model server."""


def serving_command(
    model: ServedModel, port_file: Path, program: Sequence[str] = OUR_SERVER
) -> list[str]:
    """The command of our own model server, on this machine only and without gRPC.

    Args:
        model: What to serve. The last of an argument that is given twice counts, so the model's
            own come first.
        port_file: Gets the port.
        program: What takes the arguments of our server; another one to plant faults.
    """
    return [
        *(*program, *model.arguments),
        *("--model-dir", model.folder, "--model-name", model.name),
        *("--model-version", model.version, "--host", "127.0.0.1", "--grpc-port", "0"),
        *("--http-port", "0", "--port-file", str(port_file)),
    ]


@dataclass(frozen=True)
class _Record:
    """Who a process is, for another one that takes it over.

    A process id is given anew once its process has ended; with the time it is unique.
    """

    pid: int
    created: float
    model: ServedModel


_RECORD = TypeAdapter(_Record)


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
        pid: int,
        child: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """Stand for a process that runs; use `start` or `adopt`."""
        self.model = model
        self.id = identity
        self.pid = pid
        self.log_file = folder / f"{identity}.log"
        self._folder = folder
        self._child = child

    @classmethod
    def start(
        cls,
        model: ServedModel,
        folder: Path,
        command: ServerCommand = serving_command,
        *,
        own_session: bool = False,
    ) -> "ModelProcess":
        """Start a server.

        Args:
            model: What it serves.
            folder: Folder of its log, its port file and its record.
            command: Makes the command line.
            own_session: Whether it is spared the signals of our terminal and our process group,
                so that we can end it in our own time.
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
                env={**os.environ, "PYTHONWARNINGS": "ignore", "MODEL_VERSION": model.version},
            )
        return cls(model, folder, identity, child.pid, child)

    def record(self) -> None:
        """Write down who this is, so that another process can `adopt` it."""
        import psutil

        with suppress(psutil.NoSuchProcess):
            record = _Record(self.pid, psutil.Process(self.pid).create_time(), self.model)
            write_json(self._folder / f"{self.id}.json", asdict(record))

    @classmethod
    def adopt(cls, record: Path) -> "ModelProcess | None":
        """Take over the process that a record names; None where it runs no more."""
        import psutil

        try:
            told = _RECORD.validate_json(record.read_bytes())
            if psutil.Process(told.pid).create_time() != told.created:
                return None
        except (OSError, ValueError, psutil.Error):
            return None
        process = cls(told.model, record.parent, record.stem, told.pid)
        return process if process.is_running() else None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs or where it is not ours."""
        return self._child.poll() if self._child else None

    def is_running(self) -> bool:
        """Whether the process is there, and not only as a zombie."""
        if self._child:
            return self._child.poll() is None
        import psutil

        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @property
    def port(self) -> int | None:
        """The port that it listens on, once it says so."""
        try:
            return int((self._folder / f"{self.id}.port").read_text())
        except (OSError, ValueError):
            return None

    def is_ready(self, timeout: float = 5.0) -> bool:
        """Whether it says that its model is ready."""
        if (port := self.port) is None:
            return False
        connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            connection.request("GET", f"/v2/models/{self.model.name}/ready")
            answer = connection.getresponse()
            answer.read()  # a connection that is closed before is an error to the server
            return answer.status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

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
        return last_lines(self.log_file, _LAST_LINES)

    def terminate(self) -> None:
        """Ask it to end as Kubernetes does: by SIGTERM, upon which it drains."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and reap it."""
        self._signal(signal.SIGKILL)
        if self._child:
            self._child.wait()

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

    def remove_files(self) -> None:
        """Remove its record and its port file, once it has ended; the log stays."""
        for kind in ("json", "port"):
            (self._folder / f"{self.id}.{kind}").unlink(missing_ok=True)

    def _signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._child:
            self._child.send_signal(number)  # does nothing once it was reaped
        elif self.is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def last_lines(log_file: Path, most: int) -> str:
    """The last lines of a log, on one line."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - 20_000))
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " | ".join(lines[-most:]) or "it printed nothing"


def bound_log(log_file: Path, most: int = 50_000_000) -> None:
    """Begin the log of a running process anew once it is large; the one before stays as `.log.1`.

    Args:
        log_file: That the process appends to.
        most: Largest size in bytes.
    """
    with suppress(OSError):
        if log_file.stat().st_size > most:
            shutil.copyfile(log_file, log_file.with_suffix(".log.1"))
            # The process appends, so it goes on at the new end.
            os.truncate(log_file, 0)
