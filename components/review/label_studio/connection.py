"""Calls of Label Studio's API: signed in, and patient while the service is down."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request

_PASSING = frozenset({429, 500, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class Lost(Exception):  # noqa: N818
    """No answer, or one that may hide that the request was carried out."""


class Refused(UserError):  # noqa: N818
    """The service says no; asking again would not change it."""

    def __init__(self, status: int, said: str, request: str) -> None:
        """Keep the status for those who can do something about it."""
        super().__init__(f"Label Studio refused {request} ({status}): {said}")
        self.status = status
        self.said = said


@dataclass
class Connection:
    """Asks Label Studio in the name of the pipeline.

    Attributes:
        url: Its address, with a path prefix where it has one.
        token: A legacy token (40 digits), or a personal access token, which is a JWT with which
            access tokens of five minutes are fetched.
        patience: Seconds to wait for a service that is down, from the first lost answer on.
        remedy: What to do about a token that is refused, for the error.
    """

    url: str
    token: str
    patience: float = 60.0
    remedy: str = "set LABEL_STUDIO_TOKEN to the token of an administrator's account"
    transport: httpx.BaseTransport | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _access: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.token.isascii() or not self.token.strip():
            raise UserError(f"the token for Label Studio is empty or no token; {self.remedy}")
        self.url, self.token = self.url.rstrip("/"), self.token.strip()
        self._client = httpx.Client(transport=self.transport, timeout=httpx.Timeout(120, connect=5))

    def ask(self, method: str, path: str, *, repeat: bool = True, **request: Any) -> Any:
        """The answer's JSON; None where it has none.

        Args:
            method: The HTTP method.
            path: Below the address.
            repeat: Whether to ask again after an answer that was lost.
            **request: As httpx takes it.

        Raises:
            Lost: If the answer was lost and must not be asked for again.
            Refused: If the service says no.
            UserError: If it is down for longer than we wait, or does not take the token.
        """
        if not repeat:
            return self._once(method, path, **request)
        answers: list[Any] = []

        def step() -> bool:
            answers.append(self._once(method, path, **request))
            return True

        self.until_done(step)
        return answers[0]

    def until_done(self, step: Callable[[], bool]) -> None:
        """Call a step until it says that all is done; after a pause where it raises `Lost`.

        Raises:
            UserError: If it gets nowhere for longer than we wait.
        """
        give_up, pause = math.inf, _FIRST_PAUSE
        while True:
            try:
                if step():
                    return
                give_up, pause = math.inf, _FIRST_PAUSE
            except Lost as lost:
                if give_up == math.inf:
                    give_up = self.clock() + self.patience
                    how_long = f"up to {self.patience:.0f} s for Label Studio at {self.url}"
                    logger.info("waiting %s: %s", how_long, lost)
                if self.clock() + pause >= give_up:
                    raise self._down(lost) from None
                self.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def wait(self) -> None:
        """Return once the service answers; `UserError` if it does not in time."""
        self.ask("GET", "/health")

    def _once(self, method: str, path: str, **request: Any) -> Any:
        answer = self._send(method, path, **request)
        if answer.status_code == 401 and self._is_personal:
            self._access = ""  # it has grown old: once more with a fresh one
            answer = self._send(method, path, **request)
        if answer.status_code == 401:
            raise UserError(f"Label Studio at {self.url} does not accept the token; {self.remedy}")
        if answer.status_code in _PASSING:
            raise Lost(f"{method} {path} was answered {answer.status_code}")
        if not answer.is_success:
            raise Refused(answer.status_code, _said(answer), f"{method} {path.partition('?')[0]}")
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise UserError(
                f"{self.url} answers, but not as Label Studio does; check the address"
            ) from None

    @property
    def _is_personal(self) -> bool:
        return self.token.count(".") == 2

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        scheme, word = "Token", self.token
        if self._is_personal:
            self._access = self._access or self._fresh_access()
            scheme, word = "Bearer", self._access
        return self._request(method, path, headers={"Authorization": f"{scheme} {word}"}, **request)

    def _fresh_access(self) -> str:
        answer = self._request("POST", "/api/token/refresh", json={"refresh": self.token})
        if answer.status_code in _PASSING:
            raise Lost(f"the token could not be refreshed ({answer.status_code})")
        if not answer.is_success:
            raise UserError(f"Label Studio at {self.url} does not accept the token; {self.remedy}")
        access: str = answer.json()["access"]
        return access

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._client.request(method, self.url + path, **request)
        except httpx.TransportError as error:
            raise Lost(str(error) or type(error).__name__) from None
        except httpx.InvalidURL as error:
            raise UserError(f"{self.url!r} is no address of Label Studio: {error}") from None

    def _down(self, lost: Lost) -> UserError:
        return UserError(
            f"Label Studio at {self.url} has not answered for {self.patience:.0f} s ({lost}); "
            "start it (`make review`) and run this again: it goes on where it stopped"
        )


def _said(answer: httpx.Response) -> str:
    """What a refusal says, on one line and not too long."""
    try:
        said = answer.json()
    except ValueError:
        return answer.reason_phrase
    if isinstance(said, dict):
        said = said.get("validation_errors") or said.get("detail") or said
    return " ".join(str(said).split())[:300]
