"""The changes of one canary, each decided on the object as it is and guarded against everyone else.

A change is refused by the store if the object is another by the time that it arrives; it is then
decided anew. What someone else did to the canary meanwhile is never overwritten: it ends the work
with a sentence. Rollout and A/B test both change the service through this and nothing else.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.deployment.kserve import canary_change
from components.deployment.kserve.canary_readiness import (
    Progress,
    Readiness,
    rolled_back,
    serving_alone,
    settled,
    share_in_force,
)
from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.kserve.service_state import Mode, ServiceState, state_of
from components.deployment.kserve.service_store import Conflict, ServiceStore
from components.deployment.rollout_record import Decision
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

DECIDED_ANEW_AT_MOST = 50
PAUSE_AFTER_CONFLICT = 0.2


class Interfered(UserError):  # noqa: N818 (what it says is that someone else decided)
    """Someone else changed the canary while it was being tried."""


@dataclass(frozen=True)
class GuardedCanary:
    """A version that is being tried beside the one that serves.

    Every method may be called again after a crash: what is done already is not done twice.

    Attributes:
        store: Where the service is kept.
        model_name: Name of the service.
        version: Version that is tried.
        storage_uri: Where its model folder lies.
        model_digest: SHA-256 of its weights.
        mode: KServe's deployment mode of the service.
        settings: The canary's resources and arguments; of a first deployment size and scaling too.
        ready_within_seconds: Time that the cluster has for each change.
        sleep: Waits that many seconds.
    """

    store: ServiceStore
    model_name: str
    version: str
    storage_uri: str
    model_digest: str = ""
    mode: Mode = "Standard"
    settings: ServiceSettings = field(default_factory=ServiceSettings)
    ready_within_seconds: float = 600.0
    sleep: Callable[[float], None] = time.sleep

    def start(self, first_percent: int, *, shadow: bool = False) -> None:
        """Start the version beside the stable one, without any traffic.

        Args:
            first_percent: Share that it gets next.
            shadow: Ask for a copy of the traffic while it gets none of its own.

        Raises:
            UserError: If the cluster drops the canary.
            Interfered: If another version is tried, or this one serves already.
        """

        def change(service: dict[str, Any]) -> dict[str, Any] | None:
            state = self.state(service)
            if state.canary == self.version:
                return None
            if state.canary is not None or state.stable == self.version:
                raise self._interference(state)
            return canary_change.start_canary(
                service,
                self.version,
                self.storage_uri,
                model_digest=self.model_digest,
                settings=self.settings,
                first_percent=first_percent,
                shadow=shadow,
            )

        kept = self.change(change)
        state = self.state(kept)
        if state.canary is None:
            # An API server drops fields that its CRD does not have, without a word.
            raise UserError(
                f"the cluster did not keep the canary of {self.model_name}: its KServe is "
                "older than 0.20 and knows no spec.canary; update it to 0.21, or use Knative "
                "mode"
            )
        logger.info("version %s starts beside %s", self.version, state.stable)

    def shift(
        self, before: int, percent: int, following: int, evidence: Mapping[str, Any] | None
    ) -> None:
        """Move the canary's share.

        Args:
            before: Percent that it has.
            percent: Percent that it gets.
            following: Percent that it may get next.
            evidence: JSON-ready values to keep on the object; None leaves what is there.

        Raises:
            Interfered: If it is another canary, or has another share.
        """

        def change(service: dict[str, Any]) -> dict[str, Any] | None:
            now = self.state(service)
            if now.canary == self.version and now.percent == percent:
                return None
            self.must_be_ours(now, before)
            return canary_change.shift(service, percent, next_percent=following, evidence=evidence)

        self.change(change)

    def in_force(self, percent: int) -> str:
        """Wait until the canary has its share; why it never got it, empty where it did.

        Raises:
            Interfered: If it is another canary, or has another share.
        """

        def rule(service: dict[str, Any]) -> Readiness:
            self.must_be_ours(self.state(service), percent)
            return share_in_force(service, self.version, percent)

        try:
            self.wait(rule)
        except Interfered:
            raise
        except UserError as error:
            return str(error)
        return ""

    def promote(self) -> None:
        """Make the canary the stable version and wait until it is. It has all of the traffic.

        Raises:
            UserError: If the cluster does not follow.
            Interfered: If it is another canary, or has another share.
        """

        def change(service: dict[str, Any]) -> dict[str, Any] | None:
            state = self.state(service)
            if state.canary is None and state.stable == self.version:
                return None
            self.must_be_ours(state, 100)
            return canary_change.promote(service)

        self.change(change)
        self.wait(serving_alone)

    def roll_back(self, reason: str) -> None:
        """Give the traffic back to the stable version, and wait until it has it.

        Args:
            reason: One sentence, kept on the object.

        Raises:
            UserError: If the cluster does not follow.
            Interfered: If it is another canary.
        """

        def change(service: dict[str, Any]) -> dict[str, Any] | None:
            now = self.state(service)
            if now.canary is None and now.rejected == self.version:
                return None
            self.must_be_ours(now, now.percent)
            return canary_change.roll_back(service, reason)

        self.change(change)
        logger.warning("version %s goes back: %s", self.version, reason)
        self.wait(rolled_back)

    def change(self, decide: Callable[[dict[str, Any]], dict[str, Any] | None]) -> dict[str, Any]:
        """Read, decide, patch what was read; on a conflict begin anew.

        Args:
            decide: The change of the object as it is; None where there is nothing to do.

        Returns:
            The object as kept.

        Raises:
            UserError: If someone else changes the object all the time, or the store refuses.
        """
        for _ in range(DECIDED_ANEW_AT_MOST):
            service = self.read()
            change = decide(service)
            if change is None:
                return service
            try:
                return self.store.patch(change, service["metadata"]["resourceVersion"])
            except Conflict:
                self.sleep(PAUSE_AFTER_CONFLICT)
        raise UserError(
            f"service {self.model_name} was changed by someone else at each of "
            f"{DECIDED_ANEW_AT_MOST} attempts to change it; find out by whom and run again"
        )

    def wait(self, rule: Callable[[dict[str, Any]], Readiness]) -> None:
        """Wait until the cluster has followed.

        Raises:
            UserError: If it has not in time; at once where it never will.
        """

        def reached(service: dict[str, Any]) -> bool:
            found = rule(service)
            if found.progress is Progress.FAILED:
                raise UserError(f"{found.reason}; {self.store.explain()}")
            return found.reached

        self.store.wait(reached, self.ready_within_seconds)

    def read(self) -> dict[str, Any]:
        """The object as it is.

        Raises:
            Interfered: If there is none any more.
        """
        service = self.store.read()
        if service is None:
            raise Interfered(
                f"someone deleted service {self.model_name} while version {self.version} was "
                "rolled out; run again to deploy it anew"
            )
        return service

    def state(self, service: dict[str, Any]) -> ServiceState:
        """The object's state.

        Raises:
            UserError: If the service runs in the other mode, which a canary cannot change.
        """
        state = state_of(service)
        if state.mode != self.mode:
            raise UserError(
                f"service {self.model_name} runs in {state.mode} mode, not in {self.mode}; roll "
                "out in its mode, or delete it first"
            )
        return state

    def must_be_ours(self, state: ServiceState, percent: int) -> None:
        """Stop where someone else decided on the canary.

        Raises:
            Interfered: If it is another canary, or has another share.
        """
        if state.canary != self.version or state.percent != percent:
            raise self._interference(state)

    def decided_before(
        self, state: ServiceState, *, retry_rejected: bool
    ) -> tuple[Decision, str] | None:
        """What was decided of the version before; None where it is still to be tried.

        Args:
            state: Of the object as it is.
            retry_rejected: Whether a version that was rolled back is to be tried again.

        Returns:
            The decision and its reason, once the cluster has followed it.

        Raises:
            UserError: If another version is being tried, or the cluster does not follow.
        """
        if state.canary not in (None, self.version):
            raise UserError(
                f"service {self.model_name} is trying version {state.canary} at {state.percent} "
                f"percent; let that rollout end, or run it again, before version {self.version}"
            )
        if state.canary is None and state.stable == self.version:
            self.wait(settled)
            return Decision.ALREADY_SERVING, f"version {self.version} serves already"
        if state.canary is None and state.rejected == self.version and not retry_rejected:
            self.wait(rolled_back)
            return Decision.ROLL_BACK, state.rejected_because
        return None

    def _interference(self, state: ServiceState) -> Interfered:
        if state.canary == self.version:
            what = f"gave version {self.version} {state.percent} percent of the traffic"
        elif state.canary is not None:
            what = f"is trying version {state.canary} instead"
        elif state.stable == self.version:
            what = f"made version {self.version} the stable one"
        else:
            what = f"removed version {self.version}; {state.stable} serves alone"
        return Interfered(
            f"someone else {what} while it was rolled out on {self.model_name}; this rollout ends "
            "here and leaves that as it is"
        )
