"""Label Studio on one machine: started beside its database, awaited, ended with what started it."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from components.shared.machine.errors import UserError
from components.shared.machine.ports import free_port
from components.shared.machine.secret_file import secret_of

HOST, PORT = "127.0.0.1", 8181
ADMINISTRATOR = "review@localhost.localdomain"
"""Who the pipeline is in Label Studio, and who looks after it; no message is ever sent there."""

VENV = "LABEL_STUDIO_VENV"
"""Environment variable with the folder of Label Studio's virtual environment."""

_PROJECT = Path(__file__).resolve().parents[3]
_SERVER = Path(__file__).with_name("server")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_LAST_LINES = 8


@dataclass(frozen=True)
class Service:
    """A Label Studio of this machine.

    Attributes:
        state: The runs' state folder; its database is below it.
        port: Port of 127.0.0.1.
        process: What was started, while it runs.
    """

    state: Path
    port: int = PORT
    process: "subprocess.Popen[bytes] | None" = None

    def is_running(self) -> bool:
        """Whether the process that was started has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def folder(self) -> Path:
        """Its database and log."""
        return self.state.resolve() / "review" / "label_studio"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def password_file(self) -> Path:
        """File with the password of `ADMINISTRATOR`."""
        return self.state / "secrets" / "label_studio.password"

    @property
    def token(self) -> str:
        """The pipeline's token; made on first use."""
        return secret_of(self.state / "secrets" / "label_studio.token")[:40]

    def variables(self) -> dict[str, str]:
        """The environment of its process: nothing of ours that it would take for a setting."""
        ours = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return ours | {
            "PYTHONPATH": str(_SERVER),
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "REVIEW_ADMINISTRATOR": ADMINISTRATOR,
            "REVIEW_PASSWORD": secret_of(self.password_file),
            "REVIEW_TOKEN": self.token,
            "REVIEW_BIND": f"{HOST}:{self.port}",
            "REVIEW_ENDS_WITH_PARENT": "true",
        }


@contextmanager
def label_studio(state: Path, port: int = PORT, within: float = 600.0) -> Iterator[Service]:
    """Run the service while the body runs; its data stays for the next time.

    Args:
        state: The runs' state folder.
        port: Port of 127.0.0.1; 0 takes a free one.
        within: Seconds that it may take to answer; the first start makes its tables.

    Raises:
        UserError: If it is not installed, runs already for this folder, the port is taken, or it
            does not answer in time.
    """
    from filelock import FileLock, Timeout

    python = installed_python()
    lock = FileLock(Service(state).folder / "running.lock", timeout=0)
    Service(state).folder.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"the review service of {state} runs already, at {Service(state, port_of(state)).url};"
            " use that one, or stop it where it was started (Ctrl+C)"
        ) from None
    with lock:
        service = Service(state, free_port(HOST, port))
        log = service.folder / "service.log"
        (service.folder / "port").write_text(f"{service.port}\n")
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 (our own program)
                [str(python), str(_SERVER / "review_server.py")],
                env=service.variables(),
                cwd=service.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # we end it in our own time, not the terminal's
            )
        try:
            _wait_until_up(process, service.url, log, within)
            yield replace(service, process=process)
            if process.poll() is not None:
                raise UserError(f"Label Studio ended by itself: {_last_lines(log)}")
        finally:
            _end(process)


def installed_python(environment: Mapping[str, str] = os.environ) -> Path:
    """The interpreter that Label Studio is installed for; `UserError` where there is none."""
    folder = Path(environment.get(VENV) or _PROJECT / ".venv-review")
    python = folder / "bin" / "python"
    if not python.exists():
        raise UserError(
            f"Label Studio is not installed in {folder}; `make review-install` installs it"
        )
    return python


def port_of(state: Path) -> int:
    """The port where the service of this folder runs, or ran last."""
    with suppress(OSError, ValueError):
        return int((Service(state).folder / "port").read_text())
    return PORT


def is_up(state: Path) -> bool:
    """Whether something answers where the service of this folder runs, or ran last."""
    try:
        with socket.create_connection((HOST, port_of(state)), timeout=2):
            return True
    except OSError:
        return False


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"Label Studio did not start: {_last_lines(log)}")
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        time.sleep(0.2)
    raise UserError(f"Label Studio did not answer within {within:.0f} s; see {log}")


def _end(process: subprocess.Popen[bytes], within: float = 30.0) -> None:
    """End it as gunicorn wants to be: asked first."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-_LAST_LINES:]) or "it printed nothing"
