"""Asking again where an answer is late, refused for a while, or lost."""

import logging
import random as random_numbers
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from components.shared.kubernetes.conflict import Conflict
from components.shared.kubernetes.refusals import Request, refused, unreachable

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

AGAIN = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of an answer that asking again may change."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries, before jitter."""


@dataclass(frozen=True)
class Patience:
    """How long and how to ask again.

    Attributes:
        seconds: From the first failure until giving up.
        clock: Seconds that only grow.
        sleep: Waits that many seconds.
        random: A number between 0 and 1.
    """

    seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random_numbers.random

    def answer(
        self,
        ask: Callable[[], Answer],
        request: Request,
        *,
        when_lost: Callable[[], Answer | None] | None = None,
    ) -> Answer:
        """Ask until there is an answer that asking again would not change.

        429, 5xx and dropped connections are asked again, after the time that `Retry-After` names or
        else after a pause that doubles and is jittered fully (Brooker 2015, "Exponential Backoff
        And Jitter"). A dropped connection or a 5xx may hide that the request was carried out.

        Args:
            ask: Makes the request with the `kubernetes` client.
            request: What is asked, for the error.
            when_lost: Called after an answer that was lost, before asking again: what the request
                has already brought about, None where nothing. Not needed where the request can be
                repeated without harm, as a patch that carries its resourceVersion.

        Returns:
            The answer.

        Raises:
            Conflict: If the API answers 409.
            UserError: If it refuses otherwise, or time is up.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        give_up: float | None = None
        pause = FIRST_PAUSE
        while True:
            try:
                return ask()
            except ApiException as error:
                status = int(error.status or 0)
                if status == 409:
                    raise Conflict(error.body) from None
                failure = refused(status, _text(error.body), error.reason, request)
                if status not in AGAIN:
                    raise failure from None
                wait, lost = retry_after(error), status != 429
            except (HTTPError, OSError) as error:
                failure, wait, lost = unreachable(error, request), None, True
            give_up = give_up or self.clock() + self.seconds
            if wait is None:
                wait, pause = pause * self.random(), min(2 * pause, LONGEST_PAUSE)
            if self.clock() + wait >= give_up:
                raise failure from None
            logger.debug("%s; asking again in %.1f s", failure, wait)
            self.sleep(wait)
            if lost and when_lost is not None:
                done = when_lost()
                if done is not None:
                    return done


def _text(body: str | bytes | None) -> str | None:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body


def retry_after(error: object) -> float | None:
    """Seconds that the API asks to wait; None where it names none or a date."""
    headers = getattr(error, "headers", None) or {}
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None
