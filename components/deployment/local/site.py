"""Serve on one machine: `python -m components.deployment.local.site --state DIR`.

A site plays KServe in deployment mode Standard. It watches the object in a `FileServiceStore`,
runs a model server process for the stable predictor and for each entry of `spec.canary`, splits
the traffic between them with nginx, and writes the status that KServe writes (KServe 0.21,
`components/predictor.go` and `reconcilers/ingress/httproute_reconciler.go` of its
InferenceService controller):

- a canary gets its share once it is ready; until then, and while it is not, stable has the rest;
- conditions `PredictorReady`, `CanaryPredictorReady` (only where there are canaries; not part of
  Ready), `IngressReady`, `Ready`; `canaryStatuses`; `modelStatus`;
- a changed predictor replaces the one before when it is ready, never sooner;
- a canary inherits from the predictor what it does not say itself.

A promoted canary's process becomes the stable one as it is, as on a cluster where the predictor
takes over the canary's name. What is not the same: one process stands for all replicas; gRPC is
not served; and where the stable process is down, canaries take over its share, where KServe would
let requests fail.
"""

import argparse
import fcntl
import logging
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.deployment.local.local_store import FileServiceStore
from components.deployment.local.model_process import (
    OUR_SERVER,
    ServerCommand,
    bound_log,
    serving_command,
)
from components.deployment.local.model_servers import SiteServers
from components.deployment.local.plan import reconcile, wanted_of
from components.deployment.local.site_status import ended_status, kubernetes_now, status_of
from components.deployment.local.splitter import Splitter
from components.deployment.local.splitter_configuration import Split
from components.shared.machine.errors import UserError, exit_in_words

logger = logging.getLogger(__name__)

_STEP_SECONDS = 0.1


@dataclass
class Site:
    """One InferenceService on this machine.

    Attributes:
        store: Where the object is.
        splitter: nginx in front of the servers.
        servers: The model servers.
    """

    store: FileServiceStore
    splitter: Splitter
    servers: SiteServers
    _serving: str | None = None
    _in_effect: Split | None = None
    _told: str = ""

    @property
    def url(self) -> str:
        """Where the splitter answers."""
        host = "127.0.0.1" if self.splitter.host == "0.0.0.0" else self.splitter.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.splitter.port}"

    def adopt(self) -> None:
        """Take over what a site that was killed left running, so that no request is lost."""
        service = self.store.read()
        status = (service or {}).get("status") or {}
        self._serving = status.get("components", {}).get("predictor", {}).get("latestReadyRevision")
        self.servers.adopt()

    def step(self) -> None:
        """Look at the object and the processes once, and do what there is to do.

        Raises:
            UserError: If the object cannot be read.
        """
        service = self.store.read()
        wanted = wanted_of(service) if service else None
        self.servers.observe()
        bound_log(self.splitter.log_file)
        self.servers.forget_failures(wanted.models if wanted else ())
        if not self.splitter.is_running():
            self._in_effect = None
        plan = reconcile(
            wanted,
            self.servers.seen,
            self._serving,
            self._in_effect,
            draining=self.splitter.is_draining(),
            held_back=self.servers.held_back,
        )
        for model in plan.start:
            self.servers.start(model)
        ingress_fault = self._apply(plan.split)
        self._tell(ingress_fault)
        for identity in plan.end:
            self.servers.end(identity)
        self._serving = plan.serving
        if service and wanted:
            status = status_of(
                service,
                wanted,
                self.servers.seen,
                plan,
                self.servers.failures,
                url=self.url,
                ingress_fault=ingress_fault,
                now=kubernetes_now(),
            )
            self.store.write_status(status, service["metadata"]["uid"])

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop, then end everything without losing a request."""
        self.adopt()
        while True:
            try:
                self.step()
            except (UserError, OSError) as error:
                # What runs goes on serving; the next look may find the cause gone.
                self._tell(f"the site cannot follow the object: {error}")
            if stop.wait(_STEP_SECONDS):
                break
        self.end()

    def end(self) -> None:
        """End everything: first nginx, which answers what it accepted, then the servers."""
        logger.info("ending: accepted requests are still answered")
        self.splitter.end(self.servers.drain_seconds)
        self.servers.end_all()
        service = self.store.read()
        if service and "status" in service:
            status = ended_status(service["status"], kubernetes_now())
            self.store.write_status(status, service["metadata"]["uid"])
        logger.info("ended")

    def _apply(self, split: Split) -> str:
        """Bring a split into effect; why it could not be, or nothing."""
        if split == self._in_effect:
            return ""
        try:
            self.splitter.apply(split)
        except UserError as error:
            self._in_effect = None
            return str(error)
        self._in_effect = split
        shares = [f"{backend.percent} % model {backend.version}" for backend in split.backends]
        shares += [f"a copy to model {split.shadow.version}"] if split.shadow else []
        logger.info("traffic at %s: %s", self.url, ", ".join(shares) or "nobody can answer")
        return ""

    def _tell(self, message: str) -> None:
        """Log a fault once, not with each step."""
        if message and message != self._told:
            logger.error("%s", message)
        self._told = message


@contextmanager
def alone_at(store: FileServiceStore) -> Iterator[None]:
    """Be the only site of an object; the lock goes with the process, however it ends.

    Raises:
        UserError: If another site serves the object.
    """
    store.site_folder.mkdir(parents=True, exist_ok=True)
    with (store.site_folder / "site.lock").open("wb") as lock:
        for _ in range(20):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # One who asks whether the site runs holds the lock for a moment.
                time.sleep(0.05)
        else:
            raise UserError(
                f"another site serves {store.name} from {store.path.parent}; end it first, "
                "or give another --state"
            )
        yield


def serve(
    state: str | Path,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    drain_seconds: float = 40.0,
    command: ServerCommand = serving_command,
    stop: threading.Event | None = None,
) -> None:
    """Serve the object of a name in the foreground, until SIGTERM, SIGINT or `stop`.

    Args:
        state: Folder of the object and of what the site keeps.
        name: Name of the InferenceService; it may be applied later.
        host: Address of the splitter.
        port: Port of the splitter; 0 takes a free one.
        drain_seconds: How long an ended process may take to answer what it accepted.
        command: What starts a model server.
        stop: Ends the site; without it, signals do.

    Raises:
        UserError: If nginx is missing, the port is taken, or another site serves the object.
    """
    store = FileServiceStore(state, name)
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_, stop=stop: stop.set())
    with alone_at(store):
        splitter = Splitter(store.site_folder / "nginx", host, port)
        servers = SiteServers(store.site_folder / "servers", command, drain_seconds)
        site = Site(store, splitter, servers)
        logger.info("serving %s at %s", store.path, site.url)
        site.run(stop)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m components.deployment.local.site",
        description="Serve an InferenceService on this machine, canaries included.",
        allow_abbrev=False,
    )
    parser.add_argument("--state", required=True, type=Path, help="folder of the object")
    parser.add_argument("--name", default="review-sentiment", help="name of the service")
    parser.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free port")
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=40.0,
        help="for the answers of an ended server; more than its own --drain-seconds (default: 40)",
    )
    parser.add_argument(
        "--server",
        type=shlex.split,
        default=list(OUR_SERVER),
        metavar="COMMAND",
        help="takes the place of python -m components.serving and gets its arguments",
    )
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    serve(
        arguments.state,
        arguments.name,
        host=arguments.host,
        port=arguments.port,
        drain_seconds=arguments.drain_seconds,
        command=partial(serving_command, program=arguments.server),
    )


if __name__ == "__main__":
    exit_in_words(main)
