"""Serve an InferenceService on one machine: `python -m components.deployment.site --state DIR`.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from components.contracts.errors import UserError, exit_in_words
from components.deployment.local_store import FileServiceStore
from components.deployment.model_process import (
    OUR_SERVER,
    ModelProcess,
    ServedModel,
    ServerCommand,
    bound_log,
    serving_command,
)
from components.deployment.site_plan import Seen, reconcile, wanted_of
from components.deployment.site_status import Failure, ended_status, status_of
from components.deployment.splitter import Split, Splitter

logger = logging.getLogger(__name__)

_STEP_SECONDS = 0.1
_PROBE_SECONDS = 1.0
_PROBE_TIMEOUT = 3.0
_PROBES_FAILED = 3  # the readiness probe's failureThreshold on a cluster
_START_WITHIN = 300.0  # the startup probe's failureThreshold times its period
_STALLED_AFTER = 60.0  # the liveness probe's
_LONGEST_PAUSE = 60.0
_FORGIVEN_AFTER = 60.0
_LOGS_KEPT = 10


@dataclass
class _Held:
    """A process that the site runs, and what it knows of it."""

    process: ModelProcess
    since: float
    ready: bool = False
    ready_since: float | None = None
    last_ready: float | None = None
    next_probe: float = 0.0
    failed_probes: int = 0
    ending_since: float | None = None

    @property
    def seen(self) -> Seen:
        model = self.process.model
        return Seen(
            self.process.id,
            model.key,
            model.version,
            self.process.port,
            self.ready,
            self.ending_since is not None,
        )


@dataclass
class Site:
    """The processes of one InferenceService on this machine.

    Attributes:
        store: Where the object is.
        splitter: nginx in front of the servers.
        command: What starts a model server.
        drain_seconds: How long an ended process may take to answer what it accepted.
        clock: Seconds that never run backwards.
    """

    store: FileServiceStore
    splitter: Splitter
    command: ServerCommand = serving_command
    drain_seconds: float = 40.0
    clock: Callable[[], float] = time.monotonic
    _held: dict[str, _Held] = field(default_factory=dict)
    _failures: dict[str, Failure] = field(default_factory=dict)
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
        for record in sorted(self._servers.glob("*.json")):
            process = ModelProcess.adopt(record)
            if process is None:
                record.unlink()
                record.with_suffix(".port").unlink(missing_ok=True)
                continue
            self._held[process.id] = _Held(process, self.clock())
            logger.info("model %s runs already", _named(process.model))
        self._end_unrecorded()
        self._observe()

    def step(self) -> None:
        """Look at the object and the processes once, and do what there is to do.

        Raises:
            UserError: If the object cannot be read.
        """
        service = self.store.read()
        wanted = wanted_of(service) if service else None
        self._observe()
        self._failures = {
            key: failure
            for key, failure in self._failures.items()
            if wanted and key in wanted.models
        }
        held_back = {
            key for key, failure in self._failures.items() if self.clock() < failure.retry_at
        }
        if not self.splitter.is_running():
            self._in_effect = None
        plan = reconcile(
            wanted,
            [held.seen for held in self._held.values()],
            self._serving,
            self._in_effect,
            draining=self.splitter.is_draining(),
            held_back=held_back,
        )
        for model in plan.start:
            self._start(model)
        ingress_fault = self._apply(plan.split)
        self._tell(ingress_fault)
        for identity in plan.end:
            self._end(self._held[identity])
        self._serving = plan.serving
        if service and wanted:
            status = status_of(
                service,
                wanted,
                [held.seen for held in self._held.values()],
                plan,
                self._failures,
                url=self.url,
                ingress_fault=ingress_fault,
                now=_now(),
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
        self.splitter.end(self.drain_seconds)
        for held in self._held.values():
            held.process.terminate()
        deadline = time.monotonic() + self.drain_seconds
        while any(held.process.is_running() for held in self._held.values()):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        for held in self._held.values():
            if held.process.is_running():
                logger.warning("model %s did not end in time", _named(held.process.model))
            held.process.kill()
            held.process.forget(keep_log=True)
        self._held.clear()
        service = self.store.read()
        if service and "status" in service:
            status = ended_status(service["status"], _now())
            self.store.write_status(status, service["metadata"]["uid"])
        logger.info("ended")

    @property
    def _servers(self) -> Path:
        return self.store.site_folder / "servers"

    def _observe(self) -> None:
        """Probe the processes, and notice those that have ended."""
        now = self.clock()
        for identity, held in list(self._held.items()):
            process = held.process
            if not process.is_running():
                del self._held[identity]
                process.forget(keep_log=True)
                if held.ending_since is None:
                    code = process.exit_code  # not known of one that was taken over
                    self._failed(held, "ended" + (f" with code {code}" if code is not None else ""))
                else:
                    logger.info("model %s has ended", _named(process.model))
            elif held.ending_since is not None:
                if now - held.ending_since > self.drain_seconds:
                    logger.warning("model %s did not end in time", _named(process.model))
                    process.kill()
            elif now >= held.next_probe:
                self._probe(held, now)
        self._prune_logs()

    def _probe(self, held: _Held, now: float) -> None:
        """Ask a server whether it is ready."""
        name = _named(held.process.model)
        if held.process.is_ready(_PROBE_TIMEOUT):
            if not held.ready:
                logger.info("model %s is ready after %.1f s", name, now - held.since)
                held.ready_since = now
            held.ready, held.last_ready, held.failed_probes = True, now, 0
            if held.ready_since is not None and now - held.ready_since > _FORGIVEN_AFTER:
                self._failures.pop(held.process.model.key, None)
            bound_log(held.process.log_file)
            bound_log(self.splitter.log_file)
        else:
            held.failed_probes += 1
            if held.ready and held.failed_probes >= _PROBES_FAILED:
                held.ready = False
                logger.warning("model %s does not answer that it is ready", name)
            silent = now - (held.last_ready or held.since)
            if silent > (_STALLED_AFTER if held.last_ready else _START_WITHIN):
                held.process.kill()
                del self._held[held.process.id]
                held.process.forget(keep_log=True)
                self._failed(held, f"was not ready for {silent:.0f} s")
        # One that starts is looked at with each step.
        held.next_probe = now + (_PROBE_SECONDS if held.ready else 0.0)

    def _failed(self, held: _Held, how: str) -> None:
        """Remember that a server failed, and when to start it again."""
        model, before = held.process.model, self._failures.get(held.process.model.key)
        count = before.count + 1 if before else 1
        # At once the first time, then later and later.
        pause = min(2.0 ** (count - 2), _LONGEST_PAUSE) if count > 1 else 0.0
        message = f"the server of model {_named(model)} {how}: {held.process.last_lines()}"
        logger.warning("%s; next try in %.0f s", message, pause)
        self._failures[model.key] = Failure(
            count,
            self.clock() + pause,
            message,
            held.process.exit_code or 0,
            held.last_ready is not None,
            held.process.id,
            _now(),
        )

    def _start(self, model: ServedModel) -> None:
        process = ModelProcess.start(model, self._servers, self.command, own_session=True)
        process.record()
        self._held[process.id] = _Held(process, self.clock())
        logger.info("model %s starts; its log is %s", _named(model), process.log_file)

    def _end(self, held: _Held) -> None:
        logger.info("model %s is no longer asked; it ends", _named(held.process.model))
        held.ending_since, held.ready = self.clock(), False
        held.process.terminate()

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

    def _end_unrecorded(self) -> None:
        """End servers of this site that were started just before it was killed."""
        import psutil

        known = {held.process.pid for held in self._held.values()}
        for process in psutil.process_iter(["pid", "cmdline"]):
            command = process.info["cmdline"] or []
            ours = any(
                part.startswith(f"{self._servers}/") and part.endswith(".port") for part in command
            )
            if ours and process.pid not in known:
                logger.warning("ending process %d, which a killed site left", process.pid)
                with suppress(psutil.Error):
                    process.terminate()

    def _prune_logs(self) -> None:
        """Keep the logs of the last processes only."""
        held = set(self._held)
        logs = [log for log in self._servers.glob("*.log") if log.stem not in held]
        for log in sorted(logs, key=lambda log: log.stat().st_mtime)[:-_LOGS_KEPT]:
            log.unlink(missing_ok=True)
            log.with_suffix(".log.1").unlink(missing_ok=True)


def _named(model: ServedModel) -> str:
    return f"{model.version or '(without version)'} from {model.folder}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


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
        site = Site(store, splitter, command, drain_seconds)
        logger.info("serving %s at %s", store.path, site.url)
        site.run(stop)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m components.deployment.site",
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
