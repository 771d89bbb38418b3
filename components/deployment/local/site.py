"""Serve on one machine: `python -m components.deployment.local.site --state DIR`.

The supervisor of a service follows its file: a model server process for the stable version and one
for the canary, and nginx that splits the traffic between them.

- A canary gets its share once it is ready; until then, and while it is not, stable has the rest.
- A promoted canary's process becomes the stable one as it is, without a restart.
- A version that replaces the stable one otherwise does so when it is ready, never sooner.
- A server that dies is started again, at once the first time and then later and later.
- Where the stable version's server is down, its canary answers for it.
"""

import argparse
import logging
import shlex
import signal
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.deployment.local.model_process import (
    OUR_SERVER,
    ServerCommand,
    bound_log,
    serving_command,
)
from components.deployment.local.model_servers import ModelServers, Seen
from components.deployment.local.service_file import (
    InEffect,
    ServedModel,
    ServiceFile,
    VersionInEffect,
    Wanted,
)
from components.deployment.local.splitter import Backend, Split, Splitter
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.ports import port_number

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        start: Models to start a server for.
        split: How the traffic is to be split.
        end: Names of the processes to end.
        serving: Key of the model that serves as the stable one; None where none does.
    """

    start: tuple[ServedModel, ...]
    split: Split
    end: tuple[str, ...]
    serving: str | None


def reconcile(
    wanted: Wanted | None,
    seen: Sequence[Seen],
    serving: str | None,
    in_effect: Split | None,
    *,
    draining: bool = False,
    held_back: Collection[str] = (),
) -> Plan:
    """Decide what to do next; the same state always gives the same plan.

    A server gets requests only while it is ready, and ends only when the splitter has let go of
    it. A model serves as the stable one until the one that is wanted instead is ready.

    Args:
        wanted: What is to be served; None where nothing is.
        seen: The processes there are.
        serving: Key of the model that was the stable one up to now.
        in_effect: The split that the splitter has; None where it does not run.
        draining: Whether the splitter still answers requests that it split as before.
        held_back: Keys of models that are not to be started yet.

    Returns:
        The plan; where nothing is to be done, its split is the one in effect.
    """
    models = wanted.models if wanted else {}
    live: dict[str, Seen] = {}
    for process in sorted(seen, key=lambda process: process.port is None):
        if not process.ending:
            live.setdefault(process.key, process)
    ready = {key: process for key, process in live.items() if process.port}
    stable = wanted.stable if wanted else None
    if stable and stable.key in ready:
        serving = stable.key
    elif serving not in ready or (stable is None and models.keys() <= ready.keys()):
        serving = None  # also where a first deployment is ready: it needs nothing beside it
    split = _split_of(wanted, ready, serving) if wanted else Split()
    needed = {live[key].id for key in {*models, serving} if key in live}
    may_end = in_effect == split and not draining
    return Plan(
        start=tuple(
            model for key, model in models.items() if key not in live and key not in held_back
        ),
        split=split,
        end=tuple(
            process.id
            for process in seen
            if may_end and not process.ending and process.id not in needed
        ),
        serving=serving,
    )


def _split_of(wanted: Wanted, ready: dict[str, Seen], serving: str | None) -> Split:
    """Shares of those that are ready; where the stable version is down, its canary answers all."""
    stable = ready.get(serving or "")
    canary = ready.get(wanted.canary.key) if wanted.canary else None
    if stable is None or stable is canary:
        only = stable or (canary if wanted.percent else None)
        return Split((_backend(only, 100),)) if only else Split()
    if canary is None or not wanted.percent:
        shadow = _backend(canary, 0) if canary and wanted.shadow else None
        return Split((_backend(stable, 100),), shadow)
    return Split((_backend(stable, 100 - wanted.percent), _backend(canary, wanted.percent)))


def _backend(process: Seen, percent: int) -> Backend:
    return Backend(process.version, process.port or 0, percent)


@dataclass
class Supervisor:
    """Makes of a service's file what it says.

    Attributes:
        file: What is wanted, and what is in effect.
        splitter: nginx in front of the servers.
        servers: The model servers.
    """

    file: ServiceFile
    splitter: Splitter
    servers: ModelServers
    _adopted: bool = False
    _serving: str | None = None
    _split: Split | None = None
    _shown: InEffect | None = None
    _logged: str = ""

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop, then end everything without losing a request."""
        self.file.show(InEffect())  # what was so before a crash is not known to be so still
        while True:
            try:
                self.step()
            except Exception as error:
                # The next look may find the cause gone; of what nobody foresaw, its name helps.
                known = isinstance(error, UserError | OSError)
                why = str(error) if known else repr(error)
                self._log_once(f"what runs goes on serving as it is: {why}")
            if stop.wait(_LOOK_SECONDS):
                break
        logger.info("ending: accepted requests are still answered")
        if not self._adopted:  # the file was never one that could be read
            self.servers.adopt({})
        self.splitter.end(self.servers.drain_seconds)
        self.servers.end_all()
        self.file.show(InEffect())
        logger.info("ended")

    def step(self) -> None:
        """Look at the file and the processes once, and do what there is to do.

        Raises:
            UserError: If the file cannot be read.
        """
        wanted = self.file.read()
        if not self._adopted:
            self.servers.adopt(wanted.models if wanted else {})
            self._adopted = True
        self.servers.observe()
        bound_log(self.splitter.log_file)
        self.servers.forget_failures(wanted.models if wanted else ())
        if not self.splitter.is_running():
            self._split = None
        plan = reconcile(
            wanted,
            self.servers.seen,
            self._serving,
            self._split,
            draining=self.splitter.is_draining(),
            held_back=self.servers.held_back,
        )
        for model in plan.start:
            self.servers.start(model)
        fault = self._apply(plan.split)
        self._log_once(fault)
        for identity in plan.end:
            self.servers.end(identity)
        self._serving = plan.serving
        self._show(wanted, fault)

    def _apply(self, split: Split) -> str:
        """Bring a split into effect; why it could not be, or nothing."""
        if split == self._split:
            return ""
        try:
            self.splitter.apply(split)
        except UserError as error:
            self._split = None
            return str(error)
        self._split = split
        shares = [f"{backend.percent} % model {backend.version}" for backend in split.backends]
        shares += [f"a copy to model {split.shadow.version}"] if split.shadow else []
        who = ", ".join(shares) or "nobody can answer"
        logger.info("traffic at %s: %s", self.splitter.url, who)
        return ""

    def _show(self, wanted: Wanted | None, fault: str) -> None:
        """Write down what is in effect, where it is no longer the same."""
        percents = {one.port: one.percent for one in self._split.backends} if self._split else {}
        ports = {one.key: one.port for one in self.servers.seen if one.port}
        versions = {}
        for key, model in (wanted.models if wanted else {}).items():
            port, failure = ports.get(key), self.servers.failures.get(key)
            why = failure.message if failure and not port else ""
            versions[model.version] = VersionInEffect(port, percents.get(port, 0), why)
        shown = InEffect(self.splitter.url, fault, versions)
        if shown != self._shown:
            self.file.show(shown)
        self._shown = shown

    def _log_once(self, fault: str) -> None:
        """Log a fault once, not at each look."""
        if fault and fault != self._logged:
            logger.error("%s", fault)
        self._logged = fault


def serve(
    file: ServiceFile,
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    drain_seconds: float = 40.0,
    command: ServerCommand = serving_command,
    stop: threading.Event | None = None,
) -> None:
    """Serve what a file says in the foreground, until `stop`; without it, until SIGTERM or SIGINT.

    Raises:
        UserError: If nginx is missing, the port is taken, or another site serves the file.
    """
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_, stop=stop: stop.set())
    with file.only_supervisor():
        splitter = Splitter(file.site_folder / "nginx", host, port)
        servers = ModelServers(file.site_folder / "servers", command, drain_seconds)
        logger.info("serving %s at %s", file.path, splitter.url)
        Supervisor(file, splitter, servers).run(stop)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m components.deployment.local.site",
        description="Serve what rollouts deploy on this machine, canaries included.",
        allow_abbrev=False,
    )
    parser.add_argument("--state", required=True, type=Path, help="folder of the service's files")
    parser.add_argument("--name", default="review-sentiment", help="name of the service")
    parser.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    parser.add_argument("--port", type=port_number, default=8090, help="0 takes a free port")
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
        ServiceFile(arguments.state, arguments.name),
        host=arguments.host,
        port=arguments.port,
        drain_seconds=arguments.drain_seconds,
        command=partial(serving_command, program=arguments.server),
    )


if __name__ == "__main__":
    exit_in_words(main)
