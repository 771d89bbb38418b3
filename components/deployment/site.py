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

Beyond KServe, `status.components.predictor.traffic` names each version's own address, from which
its metrics are read past the splitter (`components.deployment.local_store.server_addresses`).
"""

import argparse
import fcntl
import logging
import shlex
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from components.contracts.errors import UserError, exit_in_words
from components.deployment.local_store import FileServiceStore, merge_patch
from components.deployment.model_process import (
    OUR_SERVER,
    ModelProcess,
    ServedModel,
    ServerCommand,
    bound_log,
    serving_command,
)
from components.deployment.splitter import Backend, Split, Splitter

logger = logging.getLogger(__name__)

SHADOW_ANNOTATION = "review-sentiment/shadow"
"""`true`: the canary at 0 percent gets a copy of each request; its answers are thrown away."""

STABLE = "stable"
"""Tag of the stable version among the traffic targets of the status."""

_STEP_SECONDS = 0.1
_PROBE_SECONDS = 1.0
_PROBE_TIMEOUT = 3.0
_PROBES_FAILED = 3  # the readiness probe's failureThreshold on a cluster
_START_WITHIN = 300.0  # the startup probe's failureThreshold times its period
_STALLED_AFTER = 60.0  # the liveness probe's
_LONGEST_PAUSE = 60.0
_FORGIVEN_AFTER = 60.0
_FAILED_STARTS = 3
_LOGS_KEPT = 10


@dataclass(frozen=True)
class WantedCanary:
    """An entry of `spec.canary`.

    Attributes:
        name: Its `predictor.name`.
        percent: Its `trafficPercent`.
        model: What it serves; None where `fault` says why it can't.
        fault: What is wrong with the entry.
    """

    name: str
    percent: int
    model: ServedModel | None
    fault: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the object asks for.

    Attributes:
        stable: What the predictor serves; None where `fault` says why it can't.
        canaries: The entries of `spec.canary`.
        shadow: Whether canaries without a share get copies of the requests.
        fault: What is wrong with the predictor.
    """

    stable: ServedModel | None
    canaries: tuple[WantedCanary, ...] = ()
    shadow: bool = False
    fault: str = ""

    @property
    def models(self) -> dict[str, ServedModel]:
        """The models asked for, by key."""
        models = [self.stable, *(canary.model for canary in self.canaries)]
        return {model.key: model for model in models if model is not None}


@dataclass(frozen=True)
class Seen:
    """A model server process, as it is found.

    Attributes:
        id: Of the process.
        key: Of the model that it serves.
        version: Of that model.
        port: Where it listens; None where it does not yet.
        ready: Whether it may get requests.
        ending: Whether it was asked to end.
    """

    id: str
    key: str
    version: str
    port: int | None = None
    ready: bool = False
    ending: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        start: Models to start a server for.
        split: How the traffic is to be split.
        end: Ids of the processes to end.
        serving: Key of the model that serves as the stable one; None where none does.
    """

    start: tuple[ServedModel, ...]
    split: Split
    end: tuple[str, ...]
    serving: str | None


@dataclass(frozen=True)
class Failure:
    """How often, and how, a model's server failed of late.

    Attributes:
        count: Failures since it last stayed ready for a while.
        retry_at: When to start it again, on the site's clock.
        message: Why, with its last lines.
        exit_code: Of the process; 0 where it is not known.
        was_ready: Whether it had been ready.
        process: Id of the process.
        at: When, in ISO 8601.
    """

    count: int
    retry_at: float
    message: str
    exit_code: int
    was_ready: bool
    process: str
    at: str


def wanted_of(service: Mapping[str, Any]) -> Wanted:
    """What an InferenceService asks a site to serve."""
    name, spec = service["metadata"]["name"], service["spec"]
    predictor = spec["predictor"]
    annotations = service["metadata"].get("annotations") or {}
    stable, fault = _model_of(name, predictor)
    canaries = []
    for canary in spec.get("canary") or []:
        # KServe lays the canary over the stable predictor (mergo, with override).
        model, wrong = _model_of(name, merge_patch(predictor, canary["predictor"]))
        canaries.append(
            WantedCanary(canary["predictor"]["name"], canary["trafficPercent"], model, wrong)
        )
    shadow = str(annotations.get(SHADOW_ANNOTATION)).lower() == "true"
    return Wanted(stable, tuple(canaries), shadow, fault)


def _model_of(name: str, predictor: Mapping[str, Any]) -> tuple[ServedModel | None, str]:
    """The model of a predictor, or what is wrong with it."""
    model = predictor["model"]
    uri = urlsplit(model.get("storageUri") or "")
    if uri.scheme != "file" or uri.netloc not in ("", "localhost") or not uri.path:
        given = model.get("storageUri")
        return None, f"storageUri {given!r} is no folder of this machine; give file:///..."
    environment = {
        str(entry["name"]): str(entry.get("value", "")) for entry in model.get("env") or []
    }
    version = environment.pop("MODEL_VERSION", "")
    folder = unquote(uri.path)
    arguments = tuple(map(str, model.get("args") or []))
    return ServedModel(name, folder, version, tuple(sorted(environment.items())), arguments), ""


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

    Args:
        wanted: What the object asks for; None where there is no object.
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
    for process in sorted(seen, key=lambda process: (process.ending, not process.ready)):
        if not process.ending:
            live.setdefault(process.key, process)
    ready = {key: process for key, process in live.items() if process.ready and process.port}
    if wanted and wanted.stable and wanted.stable.key in ready:
        serving = wanted.stable.key
    elif wanted is None or serving not in ready:
        serving = None
    split = _split_of(wanted, ready.get(serving or ""), ready) if wanted else Split()
    kept = {live[key].id for key in {*models, serving} if key in live}
    # Not before the splitter has let go of it.
    may_end = in_effect == split and not draining
    return Plan(
        start=tuple(
            model for key, model in models.items() if key not in live and key not in held_back
        ),
        split=split,
        end=tuple(
            process.id
            for process in seen
            if may_end and not process.ending and process.id not in kept
        ),
        serving=serving,
    )


def _split_of(wanted: Wanted, stable: Seen | None, ready: Mapping[str, Seen]) -> Split:
    """Shares of those that are ready."""
    canaries = [
        (ready[canary.model.key], canary.percent)
        for canary in wanted.canaries
        if canary.model and canary.model.key in ready
    ]
    with_share = [(process, percent) for process, percent in canaries if percent]
    if stable:
        rest = 100 - sum(percent for _, percent in with_share)
        shares = [(stable, rest), *with_share]
    else:
        parts = _hundred(percent for _, percent in with_share)
        shares = [(process, part) for (process, _), part in zip(with_share, parts, strict=True)]
    by_port: dict[int, Backend] = {}
    for process, percent in shares:
        port = process.port or 0
        # One process may stand for two predictors of the same model.
        before = by_port[port].percent if port in by_port else 0
        by_port[port] = Backend(process.version, port, before + percent)
    without = [process for process, percent in canaries if not percent]
    shadow = None
    if wanted.shadow and by_port and without:
        shadow = Backend(without[0].version, without[0].port or 0, 0)
    return Split(tuple(by_port.values()), shadow)


def _hundred(percents: Iterator[int] | Sequence[int]) -> list[int]:
    """Integers in proportion that add up to 100 (largest remainders); empty for none."""
    given = list(percents)
    total = sum(given)
    if not total:
        return []
    parts = [percent * 100 // total for percent in given]
    by_remainder = sorted(range(len(given)), key=lambda i: -(given[i] * 100 % total))
    for position in by_remainder[: 100 - sum(parts)]:
        parts[position] += 1
    return parts


def status_of(
    service: Mapping[str, Any],
    wanted: Wanted,
    seen: Sequence[Seen],
    plan: Plan,
    failures: Mapping[str, Failure],
    *,
    url: str,
    ingress_fault: str,
    now: str,
) -> dict[str, Any]:
    """The status of an object, as KServe writes it.

    Args:
        service: The object as it was read.
        wanted: What it asks for.
        seen: The processes.
        plan: What was decided on, and is in effect unless `ingress_fault` says otherwise.
        failures: By key of the model.
        url: Where the splitter answers.
        ingress_fault: Why the split is not in effect; empty where it is.
        now: Time in ISO 8601, for conditions that changed.
    """
    ready = {
        process.key: process
        for process in seen
        if process.ready and process.port and not process.ending
    }
    conditions = {
        "IngressReady": ("False", "SplitterFailed", ingress_fault)
        if ingress_fault
        else ("True", "", ""),
        "PredictorReady": _predictor_ready(wanted, plan, failures),
    }
    if wanted.canaries:
        lacking = [c.name for c in wanted.canaries if not c.model or c.model.key not in ready]
        conditions["CanaryPredictorReady"] = (
            ("False", "CanariesNotReady", f"not ready: {', '.join(lacking)}")
            if lacking
            else ("True", "AllCanariesReady", "")
        )
    unready = [
        (name, conditions[name])
        for name in ("PredictorReady", "IngressReady")
        if conditions[name][0] != "True"
    ]
    conditions["Ready"] = unready[0][1] if unready else ("True", "", "")
    percents = {backend.port: backend.percent for backend in plan.split.backends}
    roles = [(STABLE, plan.serving or "")]
    roles += [(c.name, c.model.key) for c in wanted.canaries if c.model]
    traffic = [
        {
            "tag": tag,
            "revisionName": ready[key].version,
            "percent": percents.get(ready[key].port or 0, 0),
            "url": f"http://127.0.0.1:{ready[key].port}",
        }
        for tag, key in roles
        if key in ready
    ]
    component: dict[str, Any] = {"traffic": traffic}
    if wanted.stable:
        component["latestCreatedRevision"] = wanted.stable.key
    if plan.serving:
        component |= {"latestReadyRevision": plan.serving, "url": url}
    status: dict[str, Any] = {
        "observedGeneration": service["metadata"]["generation"],
        "deploymentMode": "Standard",
        "url": url,
        "address": {"url": url},
        "conditions": _conditions(conditions, service.get("status") or {}, now),
        "components": {"predictor": component},
        "modelStatus": _model_status(wanted.stable, wanted.fault, plan.serving, ready, failures),
    }
    if wanted.canaries:
        status["canaryStatuses"] = [
            {
                "name": canary.name,
                "ready": canary.model is not None and canary.model.key in ready,
                "trafficPercent": canary.percent,
                "modelStatus": _model_status(canary.model, canary.fault, None, ready, failures),
            }
            for canary in wanted.canaries
        ]
    return status


def _predictor_ready(
    wanted: Wanted, plan: Plan, failures: Mapping[str, Failure]
) -> tuple[str, str, str]:
    """Status, reason and message of the condition `PredictorReady`.

    As with a Deployment, it stays true while the predictor before serves and the new one starts,
    and turns false when the new one fails again and again.
    """
    if wanted.stable is None:
        return "False", "InvalidSpec", wanted.fault
    failure = failures.get(wanted.stable.key)
    if plan.serving == wanted.stable.key:
        return "True", "MinimumReplicasAvailable", ""
    if failure and failure.count >= _FAILED_STARTS:
        return "False", "ProgressDeadlineExceeded", failure.message
    if plan.serving:
        return "True", "ReplicaSetUpdated", "the predictor before serves until the new one is ready"
    if failure:
        return "False", "MinimumReplicasUnavailable", failure.message
    return "False", "MinimumReplicasUnavailable", "the model server is starting"


def _model_status(
    model: ServedModel | None,
    fault: str,
    serving: str | None,
    ready: Mapping[str, Seen],
    failures: Mapping[str, Failure],
) -> dict[str, Any]:
    """The `modelStatus` of a predictor."""
    failure = failures.get(model.key) if model else None
    if model is None:
        transition, target = "InvalidSpec", "FailedToLoad"
    elif model.key in ready:
        transition, target = "UpToDate", "Loaded"
    elif failure:
        transition, target = "BlockedByFailedLoad", "FailedToLoad"
    else:
        transition, target = "InProgress", "Loading"
    active = "Loaded" if (model and model.key in ready) or serving in ready else "Pending"
    status: dict[str, Any] = {
        "transitionStatus": transition,
        "states": {"activeModelState": active, "targetModelState": target},
        "copies": {
            "failedCopies": failure.count if failure else 0,
            "totalCopies": int(model is not None and model.key in ready),
        },
    }
    if fault:
        status["lastFailureInfo"] = {"reason": "InvalidPredictorSpec", "message": fault}
    elif failure and model:
        status["lastFailureInfo"] = {
            "location": failure.process,
            "reason": "RuntimeUnhealthy" if failure.was_ready else "ModelLoadFailed",
            "message": failure.message,
            "modelRevisionName": model.key,
            "time": failure.at,
            "exitCode": failure.exit_code,
        }
    return status


def _conditions(
    wanted: Mapping[str, tuple[str, str, str]], before: Mapping[str, Any], now: str
) -> list[dict[str, Any]]:
    """Conditions in the order of their types; the time is that of the last change of the status."""
    past = {condition["type"]: condition for condition in before.get("conditions", [])}
    made = []
    for kind, (status, reason, message) in sorted(wanted.items()):
        since = now
        if kind in past and past[kind]["status"] == status:
            since = past[kind].get("lastTransitionTime", now)
        condition = {"type": kind, "status": status, "lastTransitionTime": since}
        condition |= {"reason": reason} if reason else {}
        made.append(condition | ({"message": message} if message else {}))
    return made


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
            gone = ("False", "SiteEnded", "the site of this machine has ended")
            conditions = _conditions(
                dict.fromkeys(("IngressReady", "PredictorReady", "Ready"), gone),
                service["status"],
                _now(),
            )
            status = {**service["status"], "conditions": conditions}
            # What serves now is no longer known, and no address answers.
            status["components"] = {"predictor": {}}
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
