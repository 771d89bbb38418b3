"""Traffic split between model servers of one machine, by nginx.

nginx runs as a child process on a configuration and a folder of its own; nothing of the machine's
own nginx is read or written.
"""

import re
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole
from components.shared.machine.ports import free_port

if TYPE_CHECKING:
    import psutil


_TEMPLATE = Path(__file__).with_name("nginx.conf")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/+-]")


@dataclass(frozen=True)
class Backend:
    """A model server behind the splitter.

    Attributes:
        version: Its model version.
        port: Its port on 127.0.0.1.
        percent: Its share of the requests, an integer.
    """

    version: str
    port: int
    percent: int


@dataclass(frozen=True)
class Split:
    """Who gets which share of the requests.

    Attributes:
        backends: With shares that add up to 100; empty where nothing can answer. One without a
            share takes only what another could not be reached for.
        shadow: Gets a copy of each request; its answers are thrown away.
    """

    backends: tuple[Backend, ...] = ()
    shadow: Backend | None = None

    def __post_init__(self) -> None:
        if self.backends and sum(backend.percent for backend in self.backends) != 100:
            raise ValueError(f"the shares of {self.backends} do not add up to 100")


def render_configuration(split: Split, prefix: Path, host: str, port: int) -> str:
    """The nginx configuration of a split.

    Which server a request goes to is a hash of its id (`split_clients`), so that each request is
    an independent draw, and a request that is sent again goes the same way. Where a server cannot
    be reached, or breaks off before it answers, another one is asked
    (`proxy_next_upstream error`): inference has no effect, so a POST may be sent twice. What a
    server does answer is passed on, its 5xx too: a canary's faults must be seen. Each answer names
    its request (`X-Request-Id`) and the version that gave it (`X-Model-Version`), errors included.

    The prefix is the folder of nginx's own files.
    """
    from jinja2 import StrictUndefined, Template

    upstreams = {
        f"version_{one.port}": [one.port, *(o.port for o in split.backends if o is not one)]
        for one in split.backends
    }
    if split.shadow:
        upstreams["shadow"] = [split.shadow.port]
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    text: str = Template(_TEMPLATE.read_text(encoding="utf-8"), undefined=StrictUndefined).render(
        prefix=prefix,
        # A request holds two connections, and the default limit is often 1,024.
        files=8192 if most_files == resource.RLIM_INFINITY else min(8192, most_files),
        upstreams=upstreams,
        shares=[(f"version_{one.port}", one.percent) for one in split.backends if one.percent],
        versions={one.port: _UNSAFE.sub("_", one.version) for one in split.backends},
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    )
    return text


class Splitter:
    """nginx in front of the model servers.

    Attributes:
        host: Address that it listens on.
        port: Port that it listens on.
        log_file: Its warnings.
    """

    def __init__(self, folder: Path, host: str, port: int) -> None:
        """Find nginx, start nothing; one that ran on this folder before is taken over.

        Port 0 takes a free one. Raises `UserError` if nginx is missing or the port is taken.
        """
        # Debian puts it where only root's PATH leads.
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise UserError("the traffic is split by nginx, which is missing; apt install nginx")
        self.host = host
        self.log_file = folder / "nginx.log"
        self._program = program
        self._folder = folder
        self._configuration = folder / "nginx.conf"
        self._child: subprocess.Popen[bytes] | None = None
        before = self._port_before()
        self.port = before if before and port in (0, before) else free_port(host, port)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def apply(self, split: Split, within: float = 10.0) -> None:
        """Split the traffic so from now on; no request is lost by it.

        Returns once new requests are split so. Those accepted before are still being answered by
        the servers that they went to: see `is_draining`.

        Raises:
            UserError: If nginx has not taken it up within so many seconds; it goes on as before.
        """
        text = render_configuration(split, self._folder, self.host, self.port)
        running = self.is_running()
        with suppress(OSError):
            if running and self._configuration.read_bytes() == text.encode():
                return
        with replaced_when_whole(self._configuration) as draft:
            draft.write_text(text, encoding="utf-8")
        before = {worker.pid for worker, _ in self._workers()}
        if running:
            self._signal(signal.SIGHUP)
        else:
            self._start()
        deadline = time.monotonic() + within
        while not self._has_taken_up(before):
            if not self.is_running() or time.monotonic() >= deadline:
                # Another try must not take the file for what is in effect.
                self._configuration.unlink(missing_ok=True)
                raise UserError(f"nginx did not take up its configuration: {self._last_lines()}")
            time.sleep(0.01)

    def is_running(self) -> bool:
        """Whether nginx is there."""
        return self._master() is not None

    def is_draining(self) -> bool:
        """Whether requests that were split as before are still being answered."""
        return any(ending for _, ending in self._workers())

    def end(self, within: float = 30.0) -> None:
        """Accept no more requests, answer those accepted, and end."""
        self._signal(signal.SIGQUIT)
        deadline = time.monotonic() + within
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._signal(signal.SIGTERM)
        if self._child:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(5)
        self._end_orphans()

    def _start(self) -> None:
        (self._folder / "nginx.pid").unlink(missing_ok=True)
        self._end_orphans()
        # Without -e it would open the machine's own log first.
        command = [self._program, "-e", "stderr", "-p", str(self._folder)]
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 (a list of arguments, not shell text)
                [*command, "-c", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _end_orphans(self) -> None:
        """End workers whose main process was killed: they would keep the port."""
        import psutil

        orphans = []
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error):
                if process.info["name"] == "nginx" and any(
                    opened.path == str(self.log_file) for opened in process.open_files()
                ):
                    process.send_signal(signal.SIGQUIT)  # it answers what it accepted
                    orphans.append(process)
        deadline = time.monotonic() + 5
        while any(_listens(orphan) for orphan in orphans) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _last_lines(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-5:]) or "it printed nothing"

    def _port_before(self) -> int | None:
        """The port of an nginx that runs on this folder, if it listens where it is wanted."""
        with suppress(OSError, ValueError):  # someone may have damaged it
            listen = re.search(r"listen (\S+):(\d+) ", self._configuration.read_text())
            if listen and listen[1].strip("[]") == self.host and self.is_running():
                return int(listen[2])
        return None

    def _master(self) -> "psutil.Process | None":
        """Nginx's main process, if it runs on this folder."""
        import psutil

        try:
            pid_file = self._folder / "nginx.pid"
            process = psutil.Process(self._child.pid if self._child else int(pid_file.read_text()))
            if process.status() == psutil.STATUS_ZOMBIE:
                if self._child:
                    self._child.poll()  # reap it
                return None
            # The id in a file that a killed nginx left may be another program's by now.
            title = " ".join(process.cmdline())
            return process if self._child or str(self._folder) in title else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _workers(self) -> list[tuple["psutil.Process", bool]]:
        """Nginx's workers, and whether each is about to end."""
        import psutil

        workers = []
        master = self._master()
        for worker in master.children() if master else []:
            with suppress(psutil.Error):
                title = " ".join(worker.cmdline())
                if "worker process" in title:
                    workers.append((worker, "shutting down" in title))
        return workers

    def _has_taken_up(self, before: set[int]) -> bool:
        """Whether a new worker accepts requests and each old one accepts none."""
        workers = self._workers()
        fresh = any(worker.pid not in before for worker, _ in workers)
        return fresh and all(ending for worker, ending in workers if worker.pid in before)

    def _signal(self, number: int) -> None:
        import psutil

        if master := self._master():
            with suppress(psutil.Error):
                master.send_signal(number)


def _listens(process: "psutil.Process") -> bool:
    """Whether an nginx worker still accepts requests."""
    import psutil

    with suppress(psutil.Error):
        shutting_down = "shutting down" in " ".join(process.cmdline())
        return not shutting_down and process.status() != psutil.STATUS_ZOMBIE
    return False
