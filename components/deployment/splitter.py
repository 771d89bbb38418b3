"""Traffic split between model servers of one machine, by nginx.

nginx runs as a child process on a configuration and a folder of its own; nothing of the machine's
own nginx is read or written. Review texts are in no log and in no temporary file.
"""

import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.errors import UserError
from components.contracts.files import replaced_when_whole

if TYPE_CHECKING:
    import psutil

VERSION_HEADER = "X-Model-Version"
"""Header of an answer: the model version that gave it, errors included."""

REQUEST_ID_HEADER = "X-Request-Id"
"""Header of a request and its answer; made here where the client sends none."""

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

    @property
    def ports(self) -> frozenset[int]:
        """Ports that requests go to."""
        shadow = {self.shadow.port} if self.shadow else set()
        return frozenset({backend.port for backend in self.backends} | shadow)


def render_configuration(split: Split, prefix: Path, host: str, port: int) -> str:
    """The nginx configuration of a split.

    Which server a request goes to is a hash of its id (`split_clients`), so that each request is
    an independent draw, and a request that is sent again goes the same way. Where a server cannot
    be reached, or breaks off before it answers, another one is asked
    (`proxy_next_upstream error`): inference has no effect, so a POST may be sent twice. What a
    server does answer is passed on, its 5xx too: a canary's faults must be seen.

    Args:
        split: The shares.
        prefix: Folder of nginx's own files.
        host: Address to listen on.
        port: Port to listen on.
    """
    address = f"[{host}]" if ":" in host else host
    upstreams, shares = [], []
    with_share = [backend for backend in split.backends if backend.percent]
    for position, backend in enumerate(split.backends):
        others = [other for other in split.backends if other is not backend]
        upstreams.append(_upstream(f"version_{position}", [backend, *others]))
    for backend in with_share:
        # The last takes the rest, so that no hash falls between two roundings.
        share = "*" if backend is with_share[-1] else f"{backend.percent}%"
        shares.append(f"        {share} version_{split.backends.index(backend)};")
    versions = [
        f'        "~:{backend.port}$" "{_UNSAFE.sub("_", backend.version)}";'
        for backend in split.backends
    ]
    if split.shadow:
        upstreams.append(_upstream("shadow", [split.shadow]))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONFIGURATION.format(
        prefix=prefix,
        # A request holds two connections, and the default limit is often 1,024.
        files=8192 if most_files == resource.RLIM_INFINITY else min(8192, most_files),
        upstreams="\n".join(upstreams),
        shares="\n".join(shares) or "        * none;",
        versions="\n".join(versions) or '        "~^$" "";',
        listen=f"{address}:{port}",
        request_id_header=REQUEST_ID_HEADER,
        version_header=VERSION_HEADER,
        mirror=_MIRROR if split.shadow else "",
        body=_PROXIED if split.backends else _NOBODY,
        shadow=_SHADOW.format(request_id_header=REQUEST_ID_HEADER) if split.shadow else "",
    )


def _upstream(name: str, backends: Sequence[Backend]) -> str:
    """A server and, if it cannot be reached, those that stand in."""
    lines = [
        # max_fails=0: a single failure must not take a version out of the split for a while.
        f"        server 127.0.0.1:{backend.port} max_fails=0{' backup' if position else ''};"
        for position, backend in enumerate(backends)
    ]
    # Below the 5 s after which uvicorn closes a connection that nothing came over.
    keepalive = ["        keepalive 64;", "        keepalive_timeout 4s;"]
    return "\n".join([f"    upstream {name} {{", *lines, *keepalive, "    }"])


# Temporary files are never written: bodies and answers are held in memory up to their limit.
# keepalive_timeout 0: when its configuration is read anew, nginx closes connections that are open
# for a next request, and a request that is on its way over one at that moment is lost to its
# client: 14 of 2,878 over 40 changes of the split, against none with connections that are closed
# after each answer. (The remedy, keepalive_min_timeout, came with nginx 1.27.4.)
_CONFIGURATION = """\
daemon off;
worker_processes 1;
worker_shutdown_timeout 60s;
worker_rlimit_nofile {files};
pid {prefix}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    server_tokens off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/answers;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    client_max_body_size 16m;
    client_body_buffer_size 16m;
    client_body_in_single_buffer on;
    proxy_max_temp_file_size 0;
    proxy_buffers 64 16k;
    proxy_buffer_size 16k;
    proxy_busy_buffers_size 32k;
    keepalive_timeout 0;
{upstreams}
    map $http_x_request_id $asked_id {{
        "" $request_id;
        default $http_x_request_id;
    }}
    split_clients $asked_id $chosen {{
{shares}
    }}
    map $upstream_addr $answered_by {{
        default "";
{versions}
    }}
    server {{
        listen {listen} backlog=4096;
        default_type application/json;
        location / {{
            add_header {request_id_header} $asked_id always;
            add_header {version_header} $answered_by always;
{mirror}{body}        }}
{shadow}    }}
}}
"""

_PROXIED = """\
            proxy_pass http://$chosen;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Request-Id $asked_id;
            proxy_hide_header X-Request-Id;
            proxy_hide_header X-Model-Version;
            proxy_connect_timeout 5s;
            proxy_read_timeout 60s;
            proxy_next_upstream error non_idempotent;
"""

_NOBODY = """\
            add_header Retry-After 5 always;
            return 503 '{"error": "no model server is ready"}';
"""

_MIRROR = """\
            mirror /shadow-of-a-request;
"""

_SHADOW = """\
        location = /shadow-of-a-request {{
            internal;
            proxy_pass http://shadow$request_uri;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header {request_id_header} $asked_id;
            proxy_connect_timeout 1s;
            proxy_read_timeout 30s;
            proxy_next_upstream off;
        }}
"""


class Splitter:
    """nginx in front of the model servers.

    Attributes:
        host: Address that it listens on.
        port: Port that it listens on.
        log_file: Its warnings.
    """

    def __init__(self, folder: Path, host: str, port: int) -> None:
        """Find nginx; nothing is started yet. One that ran on this folder before is taken over.

        Args:
            folder: Folder of its configuration and files.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.

        Raises:
            UserError: If nginx is not installed, or the port is taken.
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
        if before and port in (0, before):
            self.port = before
        else:
            self.port = _free_port(host, port)

    def apply(self, split: Split, within: float = 10.0) -> None:
        """Split the traffic so from now on; no request is lost by it.

        Returns once new requests are split so. Those accepted before are still being answered by
        the servers that they went to: see `is_draining`.

        Args:
            split: The shares.
            within: Seconds that nginx has to take it up.

        Raises:
            UserError: If nginx refuses the configuration or does not take it up.
        """
        text = render_configuration(split, self._folder, self.host, self.port)
        running = self.is_running()
        if running and self._configuration.exists() and self._configuration.read_text() == text:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._check(text)
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
                raise UserError(f"nginx did not take up its configuration: {self.last_lines()}")
            time.sleep(0.01)

    def is_running(self) -> bool:
        """Whether nginx is there."""
        return self._master() is not None

    def is_draining(self) -> bool:
        """Whether requests that were split as before are still being answered."""
        return any(ending for _, ending in self._workers())

    def last_lines(self) -> str:
        """The end of nginx's log, on one line."""
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-5:]) or "it printed nothing"

    def end(self, within: float = 30.0) -> None:
        """Accept no more requests, answer those accepted, and end."""
        self._signal(signal.SIGQUIT)
        deadline = time.monotonic() + within
        while self.is_running():
            if time.monotonic() >= deadline:
                self._signal(signal.SIGTERM)
                time.sleep(0.2)
                break
            time.sleep(0.01)
        if self._child:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(5)
        self._end_orphans()

    def _start(self) -> None:
        (self._folder / "nginx.pid").unlink(missing_ok=True)
        self._end_orphans()
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 (a list of arguments, not shell text)
                self._command(self._configuration),
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

    def _command(self, configuration: Path) -> list[str]:
        # Without -e it would open the machine's own log first.
        return [self._program, "-e", "stderr", "-p", str(self._folder), "-c", str(configuration)]

    def _check(self, text: str) -> None:
        """Let nginx read a configuration before it has to live with it."""
        draft = self._folder / "nginx.draft.conf"
        # The check truncates the pid file that the configuration names.
        draft.write_text(text.replace("/nginx.pid;", "/nginx.draft.pid;"), encoding="utf-8")
        checked = subprocess.run(  # noqa: S603 (a list of arguments, not shell text)
            [*self._command(draft), "-t", "-q"], capture_output=True, text=True, check=False
        )
        if checked.returncode:
            raise UserError(f"nginx refuses its configuration {draft}: {checked.stderr.strip()}")
        draft.unlink()
        (self._folder / "nginx.draft.pid").unlink(missing_ok=True)

    def _port_before(self) -> int | None:
        """The port of an nginx that runs on this folder, if it listens where it is wanted."""
        if not self.is_running():
            return None
        try:
            found = re.search(r"listen (\S+):(\d+) ", self._configuration.read_text())
        except OSError:
            return None
        if found is None or found[1].strip("[]") != self.host:
            return None
        return int(found[2])

    def _master(self) -> "psutil.Process | None":
        """Nginx's main process, if it runs on this folder."""
        import psutil

        try:
            pid = self._child.pid if self._child else int(self._pid_file())
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                if self._child:
                    self._child.poll()  # reap it
                return None
            # The id in a file that a killed nginx left may be another program's by now.
            title = " ".join(process.cmdline())
            return process if self._child or str(self._folder) in title else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _pid_file(self) -> str:
        return (self._folder / "nginx.pid").read_text()

    def _workers(self) -> list[tuple["psutil.Process", bool]]:
        """Nginx's workers, and whether each is about to end."""
        import psutil

        found = []
        master = self._master()
        for worker in master.children() if master else []:
            with suppress(psutil.Error):
                title = " ".join(worker.cmdline())
                if "worker process" in title:
                    found.append((worker, "shutting down" in title))
        return found

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

    try:
        return "shutting down" not in " ".join(process.cmdline()) and (
            process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def _free_port(host: str, port: int) -> int:
    """The port, if it is free; a free one for 0.

    Raises:
        UserError: If it is taken or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host} port {port} ({error.strerror}); give another port"
            ) from None
        found: int = probe.getsockname()[1]
        return found
