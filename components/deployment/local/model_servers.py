"""The model server processes of a site: started, probed, tried again, taken over, ended."""

import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from components.deployment.local.model_process import (
    ModelProcess,
    ServedModel,
    ServerCommand,
    bound_log,
    serving_command,
)
from components.deployment.local.plan import Seen
from components.deployment.local.site_status import Failure, kubernetes_now

logger = logging.getLogger(__name__)

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
class SiteServers:
    """The model servers of one InferenceService on this machine.

    Attributes:
        folder: Where their logs and records are.
        command: What starts a model server.
        drain_seconds: How long an ended process may take to answer what it accepted.
        clock: Seconds that never run backwards.
        failures: How models failed of late, by their key.
    """

    folder: Path
    command: ServerCommand = serving_command
    drain_seconds: float = 40.0
    clock: Callable[[], float] = time.monotonic
    failures: dict[str, Failure] = field(default_factory=dict)
    _held: dict[str, _Held] = field(default_factory=dict)

    @property
    def seen(self) -> list[Seen]:
        """The processes as they were found last."""
        return [held.seen for held in self._held.values()]

    @property
    def held_back(self) -> set[str]:
        """Keys of the models that failed and are not to be started again yet."""
        now = self.clock()
        return {key for key, failure in self.failures.items() if now < failure.retry_at}

    def adopt(self) -> None:
        """Take over what a site that was killed left running, so that no request is lost."""
        for record in sorted(self.folder.glob("*.json")):
            process = ModelProcess.adopt(record)
            if process is None:
                record.unlink()
                record.with_suffix(".port").unlink(missing_ok=True)
                continue
            self._held[process.id] = _Held(process, self.clock())
            logger.info("model %s runs already", _named(process.model))
        self._end_unrecorded()
        self.observe()

    def start(self, model: ServedModel) -> None:
        """Start a server; it is not ready yet."""
        process = ModelProcess.start(model, self.folder, self.command, own_session=True)
        process.record()
        self._held[process.id] = _Held(process, self.clock())
        logger.info("model %s starts; its log is %s", _named(model), process.log_file)

    def end(self, identity: str) -> None:
        """Ask a process to end, in its own time."""
        held = self._held[identity]
        logger.info("model %s is no longer asked; it ends", _named(held.process.model))
        held.ending_since, held.ready = self.clock(), False
        held.process.terminate()

    def end_all(self) -> None:
        """End every process, and wait until it has answered what it accepted."""
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

    def forget_failures(self, still_wanted: Collection[str]) -> None:
        """Keep the failures of these models only, given by their keys."""
        self.failures = {k: failure for k, failure in self.failures.items() if k in still_wanted}

    def observe(self) -> None:
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
                self.failures.pop(held.process.model.key, None)
            bound_log(held.process.log_file)
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
        model, before = held.process.model, self.failures.get(held.process.model.key)
        count = before.count + 1 if before else 1
        # At once the first time, then later and later.
        pause = min(2.0 ** (count - 2), _LONGEST_PAUSE) if count > 1 else 0.0
        message = f"the server of model {_named(model)} {how}: {held.process.last_lines()}"
        logger.warning("%s; next try in %.0f s", message, pause)
        self.failures[model.key] = Failure(
            count,
            self.clock() + pause,
            message,
            held.process.exit_code or 0,
            held.last_ready is not None,
            held.process.id,
            kubernetes_now(),
        )

    def _end_unrecorded(self) -> None:
        """End servers of this site that were started just before it was killed."""
        import psutil

        known = {held.process.pid for held in self._held.values()}
        for process in psutil.process_iter(["pid", "cmdline"]):
            command = process.info["cmdline"] or []
            ours = any(
                part.startswith(f"{self.folder}/") and part.endswith(".port") for part in command
            )
            if ours and process.pid not in known:
                logger.warning("ending process %d, which a killed site left", process.pid)
                with suppress(psutil.Error):
                    process.terminate()

    def _prune_logs(self) -> None:
        """Keep the logs of the last processes only."""
        held = set(self._held)
        logs = [log for log in self.folder.glob("*.log") if log.stem not in held]
        for log in sorted(logs, key=lambda log: log.stat().st_mtime)[:-_LOGS_KEPT]:
            log.unlink(missing_ok=True)
            log.with_suffix(".log.1").unlink(missing_ok=True)


def _named(model: ServedModel) -> str:
    return f"{model.version or '(without version)'} from {model.folder}"
