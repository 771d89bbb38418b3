"""A service in a cluster: the six verbs, each a guarded change of its InferenceService.

Each change is decided on the object as it is. The API server refuses it if the object is another by
the time that it arrives; it is then decided anew. What someone else did to the canary meanwhile is
never overwritten: it ends the work with a sentence.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tenacity

from components.deployment.kserve import patches
from components.deployment.kserve.inference_service import (
    ServiceSettings,
    model_of,
    render_inference_service,
)
from components.deployment.kserve.state import (
    Mode,
    NeverReady,
    mode_of,
    rolled_back,
    serving_alone,
    settled,
    share_in_force,
    state_of,
)
from components.deployment.service import (
    Candidate,
    Interfered,
    NotReady,
    ServiceState,
    expect_share,
    interference,
)
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Conflict, Resource
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

INFERENCE_SERVICES = Resource(
    "serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", "KServe"
)

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("serving.kserve.io", "inferenceservices"): ("create", "delete", "get", "patch", "watch"),
    ("", "events"): ("list",),
    ("", "pods"): ("list",),
    ("", "pods/log"): ("get",),
}
"""Verbs that a rollout needs, by API group and resource: its Role grants these and no more."""

_DECIDED_ANEW_AT_MOST = 50
_PAUSE_AFTER_CONFLICT = 0.2


def inference_services(namespace: str = "", *, kubeconfig: str = "") -> Objects:
    """The InferenceServices of a namespace, '' the pod's own or the kubeconfig's.

    Raises:
        UserError: If there are no credentials for a cluster.
    """
    client, namespace = connect(namespace, kubeconfig=kubeconfig)
    pods = "serving.kserve.io/inferenceservice={name}"
    return Objects(client, namespace, INFERENCE_SERVICES, pods=pods)


@dataclass(frozen=True)
class KServeService:
    """A `Service` in a cluster.

    The settings are the candidate's resources and arguments; of a first deployment size and scaling
    too. The mode must be that of a service that is there. The cluster has `ready_within_seconds`
    for each change.
    """

    objects: Objects
    name: str
    candidate: Candidate
    settings: ServiceSettings
    mode: Mode = "Standard"
    ready_within_seconds: float = 600.0
    sleep: Callable[[float], None] = time.sleep

    def state(self) -> ServiceState | None:
        """As `Service.state`; a `UserError` if the service runs in the other mode."""
        service = self.objects.read(self.name)
        return None if service is None else self._state(service)

    @property
    def url(self) -> str:
        """Where the traffic is split; '' while the cluster does not say it."""
        service = self.objects.read(self.name) or {}
        return str((service.get("status") or {}).get("url") or "")

    def start(self, first_percent: int, *, shadow: bool = False) -> None:
        """As `Service.start`."""
        version = self.candidate.version
        if first_percent == 100:
            return self._create()

        def started(service: dict[str, Any], state: ServiceState) -> dict[str, Any] | None:
            if state.canary == version:
                return None
            if state.canary is not None or state.stable == version:
                raise interference(self, state)
            uri, digest = self.candidate.uri, self.candidate.digest
            model = model_of(version, uri, self.mode, self.settings, digest)
            return patches.start(
                *(service, version, digest, model),
                first_percent=first_percent,
                shadow=shadow,
            )

        state = self._change(started)
        if state.canary is None:
            # An API server drops fields that its CRD does not have, without a word.
            raise UserError(
                f"the cluster did not keep the canary of {self.name}: its KServe is older than "
                "0.20 and knows no spec.canary; update it to 0.21, or use Knative mode"
            )
        logger.info("version %s starts beside %s", version, state.stable)
        return None

    def shift(
        self,
        before: int,
        percent: int,
        *,
        following: int,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """As `Service.shift`."""

        def shifted(service: dict[str, Any], state: ServiceState) -> dict[str, Any] | None:
            if state.canary == self.candidate.version and state.percent == percent:
                return None
            expect_share(self, state, before)
            return patches.shift(service, percent, following=following, evidence=evidence)

        self._change(shifted)

    def ready(self, percent: int) -> None:
        """As `Service.ready`."""

        def missing(service: dict[str, Any]) -> str:
            state = expect_share(self, self._state(service), percent)
            if not state.stable:
                return serving_alone(service)
            return share_in_force(service, self.candidate.version, percent)

        try:
            self._wait(missing)
        except Interfered:
            raise
        except UserError as error:
            raise NotReady(str(error)) from None

    def promote(self) -> None:
        """As `Service.promote`."""

        def promoted(service: dict[str, Any], state: ServiceState) -> dict[str, Any] | None:
            if state.canary is None and state.stable == self.candidate.version:
                return None
            expect_share(self, state, 100)
            return patches.promote(service)

        self._change(promoted)
        self._wait(settled)

    def roll_back(self, reason: str) -> None:
        """As `Service.roll_back`."""
        first: list[str] = []

        def undone(service: dict[str, Any], state: ServiceState) -> dict[str, Any] | None:
            if state.canary is None and state.rejected == self.candidate.version:
                return None
            expect_share(self, state, state.percent)
            if not state.stable:
                first.append(service["metadata"]["uid"])
                return None
            logger.warning("version %s goes back: %s", self.candidate.version, reason)
            return patches.roll_back(service, reason)

        self._change(undone)
        if not first:
            return self._wait(rolled_back)
        try:
            return self.objects.delete(self.name, uid=first[0])
        except Conflict:
            raise interference(self, self.state()) from None

    def _create(self) -> None:
        """Make the first deployment where nothing serves; what is there already stays."""
        candidate = self.candidate
        manifest = render_inference_service(
            *(self.name, candidate.version, candidate.uri),
            mode=self.mode,
            model_digest=candidate.digest,
            settings=self.settings,
            first=True,
        )

        def create() -> None:
            if self.objects.read(self.name) is None:
                self.objects.create(manifest)
                logger.info("version %s is the first of %s", candidate.version, self.name)

        self._decided_anew(create)

    def _change(
        self, decide: Callable[[dict[str, Any], ServiceState], dict[str, Any] | None]
    ) -> ServiceState:
        """Read, decide, patch what was read; on a conflict begin anew. The state then.

        `decide` returns the change of the object as it is; None where there is nothing to do.
        """

        def attempt() -> ServiceState:
            service = self.objects.read(self.name)
            if service is None:
                raise interference(self, None)
            change = decide(service, self._state(service))
            if change is not None:
                version = service["metadata"]["resourceVersion"]
                service = self.objects.patch(self.name, change, version)
            return self._state(service)

        return self._decided_anew(attempt)

    def _decided_anew(self, attempt: Callable[[], Any]) -> Any:
        """What an attempt returns that no one else's change got in the way of."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Conflict),
            stop=tenacity.stop_after_attempt(_DECIDED_ANEW_AT_MOST),
            wait=tenacity.wait_fixed(_PAUSE_AFTER_CONFLICT),
            sleep=self.sleep,
        )
        try:
            return again(attempt)
        except tenacity.RetryError:
            raise UserError(
                f"service {self.name} was changed by someone else at each of "
                f"{_DECIDED_ANEW_AT_MOST} attempts to change it; find out by whom and run again"
            ) from None

    def _wait(self, missing: Callable[[dict[str, Any]], str]) -> None:
        """Wait until nothing is missing; a `UserError` at once where something always will be."""

        def reached(service: dict[str, Any]) -> bool:
            try:
                return not missing(service)
            except NeverReady as error:
                raise UserError(f"{error}; {self.objects.explain(self.name)}") from None

        self.objects.wait(self.name, reached, self.ready_within_seconds)

    def _state(self, service: dict[str, Any]) -> ServiceState:
        mode = mode_of(service)
        if mode != self.mode:
            raise UserError(
                f"service {self.name} runs in {mode} mode, not in {self.mode}; roll out in its "
                "mode, or delete it first"
            )
        return state_of(service)
