"""The InferenceService of one machine: a JSON file that clients and a site share.

It behaves as an API server does, so that a rollout cannot tell the two apart: optimistic locking by
`metadata.resourceVersion`, `metadata.generation` counted up where the spec changes, `status`
written by the one who serves only, and what KServe's webhook would refuse is refused.
"""

import fcntl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from components.deployment.kserve.service_store import Conflict
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json

_KEPT_METADATA = ("name", "uid", "creationTimestamp", "generation", "resourceVersion")


def merge_patch(target: Any, change: Any) -> Any:
    """The target after a JSON merge patch (RFC 7386, section 2); the target stays as it was.

    Args:
        target: Any JSON value.
        change: An object is merged into the target, None removing a field; all else replaces it.
    """
    if not isinstance(change, Mapping):
        return deepcopy(change)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return deepcopy(merged)


def check_service(service: Mapping[str, Any]) -> None:
    """Refuse what KServe's webhook would refuse, and what one machine cannot serve.

    The rules for canaries are those of `validateCanarySpecs` in KServe 0.21
    (`pkg/apis/serving/v1beta1/inference_service_validation.go`).

    Raises:
        UserError: With the field and the rule.
    """
    metadata, spec = service.get("metadata") or {}, service.get("spec") or {}
    name = metadata.get("name", "")
    predictor, canaries = spec.get("predictor") or {}, spec.get("canary") or []
    if service.get("kind") != "InferenceService" or not predictor.get("model"):
        raise UserError(f"{name or 'the object'} is no InferenceService with spec.predictor.model")
    mode = (metadata.get("annotations") or {}).get("serving.kserve.io/deploymentMode")
    if mode not in (None, "Standard"):
        raise UserError(
            f"{name} has deployment mode {mode}, but one machine serves in mode Standard only; "
            "render the service for Standard"
        )
    taken = {predictor.get("name", "")}
    for position, canary in enumerate(canaries):
        field = f"spec.canary[{position}] of {name}"
        inner = canary.get("predictor") or {}
        if not inner.get("name"):
            raise UserError(f"{field} has no predictor.name; name each canary")
        if inner["name"] in taken:
            raise UserError(f"{field} has the predictor.name {inner['name']} of another; rename it")
        taken.add(inner["name"])
        percent = canary.get("trafficPercent")
        if not isinstance(percent, int) or isinstance(percent, bool) or not 0 <= percent <= 100:
            raise UserError(f"{field} has trafficPercent {percent!r}; give an integer of 0 to 100")
        for fixed in ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"):
            if inner.get(fixed):
                raise UserError(f"{field} sets {fixed}, but a canary's replicas are fixed; drop it")
    if (total := sum(canary["trafficPercent"] for canary in canaries)) > 100:
        raise UserError(f"the canaries of {name} take {total} % of the traffic; give at most 100")


def server_addresses(service: Mapping[str, Any]) -> dict[str, list[str]]:
    """Where each model version is reached directly, past the splitter, for its metrics.

    Args:
        service: The object with the status that a site wrote.

    Returns:
        For each model version that is ready, the URLs of its servers.
    """
    predictor = (service.get("status") or {}).get("components", {}).get("predictor", {})
    found: dict[str, list[str]] = {}
    for target in predictor.get("traffic", []):
        addresses = found.setdefault(target["revisionName"], [])
        if target.get("url") and target["url"] not in addresses:
            addresses.append(target["url"])
    return {version: addresses for version, addresses in found.items() if addresses}


class FileServiceStore:
    """A `ServiceStore` in a file.

    Attributes:
        name: Name of the service.
        path: The object, as JSON.
        site_folder: Where the site of this object keeps what it runs.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        *,
        poll_seconds: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Name the object; nothing is read or written.

        Args:
            folder: Folder of the site's state.
            name: Name of the service.
            poll_seconds: Time between two looks at the file in `wait`.
            clock: Seconds that never run backwards.
            sleep: Waits for seconds.
        """
        folder = Path(folder).expanduser().resolve()
        self.name = name
        self.path = folder / f"{name}.json"
        self.site_folder = folder / name
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._sleep = sleep

    def read(self) -> dict[str, Any] | None:
        """As `ServiceStore.read`."""
        if not self.path.exists():
            return None
        try:
            service: dict[str, Any] = read_json(self.path)
        except UserError:
            if not self.path.exists():  # deleted in between
                return None
            raise
        return service

    def create(self, service: dict[str, Any]) -> dict[str, Any]:
        """As `ServiceStore.create`.

        Raises:
            UserError: Also if KServe would refuse the object, or it has another name.
        """
        check_service(service)
        if service["metadata"]["name"] != self.name:
            raise UserError(f"the store keeps {self.name}, not {service['metadata']['name']}")
        with self._alone():
            if self.read() is not None:
                raise Conflict(f"{self.name} exists already")
            kept = {key: deepcopy(value) for key, value in service.items() if key != "status"}
            kept["metadata"] |= {
                "uid": str(uuid.uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds"),
                "generation": 1,
                # Beyond every version of an object that had the name before.
                "resourceVersion": str(time.time_ns() // 1000),
            }
            write_json(self.path, kept)
            return kept

    def patch(self, change: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """As `ServiceStore.patch`; a change of the status is left out, as on a cluster.

        Raises:
            UserError: Also if KServe would refuse the object.
        """
        with self._alone():
            found = self.read()
            if found is None:
                raise Conflict(f"{self.name} is gone")
            version = found["metadata"]["resourceVersion"]
            if version != resource_version:
                raise Conflict(f"{self.name} has version {version}, not {resource_version}")
            wanted = {key: value for key, value in change.items() if key != "status"}
            changed = merge_patch(found, wanted)
            changed["metadata"] |= {key: found["metadata"][key] for key in _KEPT_METADATA}
            if changed == found:
                return found
            check_service(changed)
            if changed["spec"] != found["spec"]:
                changed["metadata"]["generation"] += 1
            return self._keep(changed)

    def write_status(self, status: dict[str, Any], uid: str) -> dict[str, Any] | None:
        """Set the status of the object; only the site that serves it does so.

        Args:
            status: The whole status.
            uid: `metadata.uid` of the object that it belongs to.

        Returns:
            The object as kept; None where it is gone or another by now.
        """
        with self._alone():
            found = self.read()
            if found is None or found["metadata"]["uid"] != uid:
                return None
            if found.get("status") == status:
                return found
            return self._keep({**found, "status": deepcopy(status)})

    def wait(
        self, reached: Callable[[dict[str, Any]], bool], deadline_seconds: float
    ) -> dict[str, Any]:
        """As `ServiceStore.wait`."""
        deadline, seen = self._clock() + deadline_seconds, None
        while True:
            service = self.read()
            if service is None:
                raise UserError(f"{self.name} is gone from {self.path}; apply it again")
            version = service["metadata"]["resourceVersion"]
            if version != seen and reached(service):
                return service
            seen = version
            if self._clock() >= deadline:
                raise UserError(
                    f"{self.name} was not as wanted within {deadline_seconds:.0f} s; "
                    f"{self.explain()}"
                )
            self._sleep(self._poll_seconds)

    def explain(self) -> str:
        """As `ServiceStore.explain`."""
        try:
            service = self.read()
        except UserError as error:
            return str(error)
        if service is None:
            return f"there is no {self.name} at {self.path}"
        status = service.get("status") or {}
        told = [] if self.is_served() else [f"no site runs; {self._start_a_site()}"]
        if not status:
            told.append("it has no status yet")
        for condition in status.get("conditions", []):
            words = f"{condition['type']} is {condition['status']}"
            detail = [condition[key] for key in ("reason", "message") if condition.get(key)]
            told.append(words + (f" ({': '.join(detail)})" if detail else ""))
        told += _failure("the predictor", status)
        for canary in status.get("canaryStatuses", []):
            state = "ready" if canary["ready"] else "not ready"
            told.append(f"canary {canary['name']} is {state} at {canary['trafficPercent']} %")
            told += _failure(f"canary {canary['name']}", canary)
        return "; ".join(told)

    def delete(self) -> None:
        """As `ServiceStore.delete`; the site ends what runs for it."""
        with self._alone():
            self.path.unlink(missing_ok=True)

    def is_served(self) -> bool:
        """Whether a site runs for this object."""
        try:
            with (self.site_folder / "site.lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _start_a_site(self) -> str:
        folder = self.path.parent
        return (
            f"start python -m components.deployment.local.site --state {folder} --name {self.name}"
        )

    def _keep(self, service: dict[str, Any]) -> dict[str, Any]:
        """Write the object under the next version."""
        version = int(service["metadata"]["resourceVersion"]) + 1
        kept = {**service, "metadata": {**service["metadata"], "resourceVersion": str(version)}}
        write_json(self.path, kept)
        return kept

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers of the file out."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            yield


def _failure(of: str, status: Mapping[str, Any]) -> list[str]:
    """What a `modelStatus` says of the last failure, unless it is over."""
    model = status.get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    if not failure.get("message") or model.get("transitionStatus") == "UpToDate":
        return []
    return [f"{of} failed: {failure['message']}"]
