"""Asking the API again where an answer is late, refused for a while, or lost."""

import random as random_numbers
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from components.shared.kubernetes.refusals import Conflict, Request, refused, unreachable

if TYPE_CHECKING:
    from tenacity import RetryCallState

Answer = TypeVar("Answer")

PASSING = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses that may be different when asked again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


@dataclass(frozen=True)
class RetryPolicy:
    """How long, in seconds from the first failure until giving up, and how to ask again."""

    seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random_numbers.random

    def call(
        self,
        ask: Callable[[], Answer],
        request: Request,
        *,
        when_lost: Callable[[], Answer | None] | None = None,
    ) -> Answer:
        """Ask until there is an answer that asking again would not change.

        429, 5xx and dropped connections are asked again. A dropped connection or a 5xx may hide
        that the request was carried out.

        Args:
            ask: Makes the request with the `kubernetes` client.
            request: What is asked, for the error.
            when_lost: Called after an answer that was lost, before asking again: what the request
                has already brought about, None where nothing. Not needed where the request can be
                repeated without harm, as a patch that carries its resourceVersion.

        Raises:
            Conflict: If the API answers 409.
            UserError: If it refuses otherwise, or time is up.
        """
        from kubernetes.client.exceptions import ApiException
        from tenacity import Retrying, retry_if_exception
        from urllib3.exceptions import HTTPError

        lost = False
        give_up: float | None = None

        def once() -> Answer:
            nonlocal lost
            if lost and when_lost is not None and (done := when_lost()) is not None:
                return done
            try:
                return ask()
            except Exception as error:
                lost = getattr(error, "status", None) != 429
                raise

        def time_is_up(state: "RetryCallState") -> bool:
            nonlocal give_up
            give_up = give_up or self.clock() + self.seconds
            return self.clock() + state.upcoming_sleep >= give_up

        def may_pass(error: BaseException) -> bool:
            if isinstance(error, ApiException):
                return error.status in PASSING
            return isinstance(error, HTTPError | OSError)

        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            wait=lambda state: self.pause(state.attempt_number, state.outcome.exception()),
            stop=time_is_up,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            return retrying(once)
        except ApiException as error:
            if error.status == 409:
                raise Conflict(error.body) from None
            raise refused(error, request) from None
        except (HTTPError, OSError) as error:
            raise unreachable(error, request) from None

    def pause(self, attempt: int, error: object = None) -> float:
        """Seconds to wait after the n-th failure in a row, counted from 1.

        What the answer's `Retry-After` names, or else a time that doubles and is jittered fully
        (Brooker 2015, "Exponential Backoff And Jitter").
        """
        asked = retry_after(error)
        if asked is not None:
            return asked
        return min(_FIRST_PAUSE * 2 ** min(attempt - 1, 10), _LONGEST_PAUSE) * self.random()


def retry_after(error: object) -> float | None:
    """Seconds that the API asks to wait; None where it names none or a date."""
    headers = getattr(error, "headers", None) or {}
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None
