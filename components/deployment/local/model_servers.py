"""The model server processes of a service: started, probed, tried again, taken over, ended."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.deployment.local.model_process import (
    ModelProcess,
    ServedModel,
    ServerCommand,
    bound_log,
    left_in,
)

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 1.0
_PROBE_TIMEOUT = 3.0
_PROBES_FAILED = 3  # the readiness probe's failureThreshold on a cluster
_START_WITHIN = 300.0  # the startup probe's failureThreshold times its period
_STALLED_AFTER = 60.0  # the liveness probe's
_LONGEST_PAUSE = 60.0
_FORGIVEN_AFTER = 60.0
_LOGS_KEPT = 10


@dataclass(frozen=True)
class Seen:
    """A model server process, as it was seen last.

    Attributes:
        id: Name of the process.
        key: Key of the model that it serves.
        version: Version of that model.
        port: Where it takes requests; None where it is not ready.
        ending: Whether it was asked to end.
    """

    id: str
    key: str
    version: str
    port: int | None = None
    ending: bool = False


@dataclass(frozen=True)
class Failure:
    """How often a model's server failed of late, when to start it again, and why it failed."""

    count: int
    retry_at: float
    message: str


@dataclass
class _Watched:
    """A process, and what is known of it."""

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
        model, port = self.process.model, self.process.port if self.ready else None
        return Seen(self.process.id, model.key, model.version, port, self.ending_since is not None)


@dataclass
class ModelServers:
    """The model servers of one service on this machine.

    Attributes:
        folder: Where their logs are; absolute, they are known again by it.
        command: What starts a model server.
        drain_seconds: How long an ended process may take to answer what it accepted.
        clock: Seconds that never run backwards.
        failures: How models failed of late, by their key.
    """

    folder: Path
    command: ServerCommand
    drain_seconds: float = 40.0
    clock: Callable[[], float] = time.monotonic
    failures: dict[str, Failure] = field(default_factory=dict)
    _watched: dict[str, _Watched] = field(default_factory=dict)

    @property
    def seen(self) -> list[Seen]:
        """The processes as they were seen last."""
        return [watched.seen for watched in self._watched.values()]

    @property
    def held_back(self) -> set[str]:
        """Keys of the models that failed and are not to be started again yet."""
        now = self.clock()
        return {key for key, failure in self.failures.items() if now < failure.retry_at}

    def adopt(self, models: Mapping[str, ServedModel]) -> None:
        """Take over what a supervisor that was killed left running, so that no request is lost."""
        for process in left_in(self.folder, models):
            self._watched[process.id] = _Watched(process, self.clock())
            logger.info("model %s runs already", _named(process.model))

    def start(self, model: ServedModel) -> None:
        """Start a server, which is not ready yet; one that cannot be started is tried again."""
        try:
            process = ModelProcess.start(model, self.folder, self.command, own_session=True)
        except (OSError, ValueError) as error:  # more arguments than the system takes, say
            self._failed(model, f"could not be started: {error}")
            return
        self._watched[process.id] = _Watched(process, self.clock())
        logger.info("model %s starts; its log is %s", _named(model), process.log_file)

    def end(self, identity: str) -> None:
        """Ask a process to end, in its own time."""
        watched = self._watched[identity]
        logger.info("model %s is no longer asked; it ends", _named(watched.process.model))
        watched.ending_since, watched.ready = self.clock(), False
        watched.process.terminate()

    def end_all(self) -> None:
        """End every process, and wait until it has answered what it accepted."""
        for one in self.seen:
            if not one.ending:
                self.end(one.id)
        while self._watched:
            self.observe()
            time.sleep(0.02)

    def forget_failures(self, still_wanted: Collection[str]) -> None:
        """Keep the failures of these models only, given by their keys."""
        self.failures = {k: failure for k, failure in self.failures.items() if k in still_wanted}

    def observe(self) -> None:
        """Probe the processes, and notice those that have ended."""
        now = self.clock()
        for watched in list(self._watched.values()):
            process = watched.process
            if not process.is_running():
                del self._watched[process.id]
                if watched.ending_since is None:
                    code = process.exit_code  # not known of one that was taken over
                    why = "ended" + (f" with code {code}" if code is not None else "")
                    self._failed(process.model, f"{why}: {process.last_lines()}")
                else:
                    logger.info("model %s has ended", _named(process.model))
            elif watched.ending_since is not None:
                if now - watched.ending_since > self.drain_seconds:
                    logger.warning("model %s did not end in time", _named(process.model))
                    process.kill()
            elif now >= watched.next_probe:
                self._probe(watched, now)
        self._prune_logs()

    def _probe(self, watched: _Watched, now: float) -> None:
        """Ask a server whether it is ready."""
        process = watched.process
        if process.is_ready(_PROBE_TIMEOUT):
            if not watched.ready:
                seconds = now - watched.since
                logger.info("model %s is ready after %.1f s", _named(process.model), seconds)
                watched.ready_since = now
            watched.ready, watched.last_ready, watched.failed_probes = True, now, 0
            if watched.ready_since is not None and now - watched.ready_since > _FORGIVEN_AFTER:
                self.failures.pop(process.model.key, None)
            bound_log(process.log_file)
        else:
            watched.failed_probes += 1
            if watched.ready and watched.failed_probes >= _PROBES_FAILED:
                watched.ready = False
                logger.warning("model %s does not answer that it is ready", _named(process.model))
            silent = now - (watched.last_ready or watched.since)
            if silent > (_STALLED_AFTER if watched.last_ready else _START_WITHIN):
                process.kill()
                del self._watched[process.id]
                why = f"was not ready for {silent:.0f} s: {process.last_lines()}"
                self._failed(process.model, why)
        # One that starts is probed at each look.
        watched.next_probe = now + (_PROBE_SECONDS if watched.ready else 0.0)

    def _failed(self, model: ServedModel, how: str) -> None:
        """Remember that a server failed, and when to start it again."""
        before = self.failures.get(model.key)
        count = before.count + 1 if before else 1
        # At once the first time, then later and later.
        pause = min(2.0 ** (count - 2), _LONGEST_PAUSE) if count > 1 else 0.0
        message = f"the server of model {_named(model)} {how}"
        logger.warning("%s; next try in %.0f s", message, pause)
        self.failures[model.key] = Failure(count, self.clock() + pause, message)

    def _prune_logs(self) -> None:
        """Keep the logs and port files of the last processes only."""
        logs = [log for log in self.folder.glob("*.log") if log.stem not in self._watched]
        for log in sorted(logs, key=lambda log: log.stat().st_mtime)[:-_LOGS_KEPT]:
            for kind in (".log", ".log.1", ".port"):
                log.with_suffix(kind).unlink(missing_ok=True)


def _named(model: ServedModel) -> str:
    return f"{model.version} from {model.folder}"
