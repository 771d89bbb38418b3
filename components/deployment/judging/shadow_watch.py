"""While a canary is a shadow: when that was, and what both versions answered meanwhile."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from components.deployment.judging.shadow_comparison import ShadowComparison, compare_shadow
from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.rollout_record import Step
from components.shared.machine.errors import UserError
from components.shared.records.payloads import check_no_password

logger = logging.getLogger(__name__)

_OPTION = "--payload-log"
_WRITTEN_WITHIN = timedelta(seconds=35)
"""A server writes an answer to its payload log at most about 30 seconds after it was given."""


def logging_payloads(settings: ServiceSettings, payload_uri: str) -> ServiceSettings:
    """The settings of a server that logs what it answers.

    Args:
        settings: Whose own `--payload-log` stays, if they have one.
        payload_uri: Folder or object prefix.

    Raises:
        UserError: If the URI holds a password.
    """
    check_no_password(payload_uri)
    if any(word.partition("=")[0] == _OPTION for word in settings.server_arguments):
        return settings
    return replace(
        settings, server_arguments=(*settings.server_arguments, f"{_OPTION}={payload_uri}")
    )


@dataclass
class ShadowWatch:
    """Notes when a rollout's shadow step was, and reads the payload log afterwards.

    Attributes:
        payload_uri: Log that both versions write to; empty where there is none.
        now: The time, with its zone.
        sleep: Waits that many seconds.
    """

    payload_uri: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    _span: tuple[datetime, datetime] | None = field(default=None, repr=False)

    def after_step(self, step: Step) -> None:
        """Take note of a step of the rollout that ends now."""
        if step.percent == 0:
            until = self.now()
            self._span = until - timedelta(seconds=step.seconds), until

    def found(self, stable: str, canary: str) -> ShadowComparison | str:
        """How the shadow's answers differ from the stable version's, for the rollout's report.

        The rollout is over, so nothing here makes it fail.

        Args:
            stable: Version whose answers were returned.
            canary: Version that answered a copy of the traffic.

        Returns:
            The comparison, or a sentence why there is none; empty where no shadow step ended.
        """
        if self._span is None:
            return ""
        if not self.payload_uri:
            return (
                "The canary answered a copy of the traffic. Its answers were not compared, because "
                "no payload log of both versions was named (payload_uri)."
            )
        since, until = self._span
        wait = (until + _WRITTEN_WITHIN - self.now()).total_seconds()
        if wait > 0:
            logger.info("waiting %.0f s until the shadow's answers are written", wait)
            self.sleep(wait)
        log = self.payload_uri
        try:
            found = compare_shadow(log, log, stable, canary, since=since, until=until)
        except UserError as error:
            logger.warning("the shadow's answers are not compared: %s", error)
            return (
                "The canary answered a copy of the traffic. Its answers were not compared: "
                f"{error}."
            )
        if found.agreed.of == 0:
            told = (
                "The canary answered a copy of the traffic, but the payload log holds no review "
                f"that both versions answered: {found.only_stable:,} of the stable version's alone "
                f"and {found.only_canary:,} of the canary's alone. Nothing can be compared; both "
                "versions have to be served with the same payload_uri, and traffic has to come."
            )
            logger.warning("%s", told)
            return told
        logger.info(
            "in the shadow, %d of %d reviews got the same label from both versions", *found.agreed
        )
        return found
