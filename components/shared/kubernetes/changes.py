"""What becomes of one object: a watch that outlives its connection."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from components.shared.kubernetes.retries import (
    AGAIN,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Patience,
    retry_after,
)

WINDOW_SECONDS = 30.0
"""How long one watch lasts. The object is read anew between two, so that neither an expired
resourceVersion nor a proxy that holds the stream back can hide its state for longer."""

_EXPIRED = 410


def changes(
    read: Callable[[], dict[str, Any] | None],
    stream: Callable[[str, float], Iterable[dict[str, Any]]],
    patience: Patience,
    deadline_seconds: float,
) -> Iterator[dict[str, Any] | None]:
    """Tell an object's state now, at each change, and once more every `WINDOW_SECONDS`.

    Whatever ends a watch (its time, a dropped connection, an overloaded or restarted API server,
    410 Gone, as an answer or as an ERROR event), the object is read again and watched from there,
    after a pause that doubles while watches end early without having told anything.

    Args:
        read: The object as it is now; None where there is none.
        stream: Watch events from a resourceVersion on, for at most that many seconds.
        patience: The clock, and how to pause.
        deadline_seconds: After which it ends.

    Yields:
        The object; None, as the last, when it is gone.

    Raises:
        ApiException: If the watch is refused in a way that asking again would not change.
        UserError: If `read` fails.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    until = patience.clock() + deadline_seconds
    pause = FIRST_PAUSE
    while True:
        found = read()
        yield found
        opened = patience.clock()
        if found is None or opened >= until:
            return
        told, wait = False, None
        window = min(until - opened, WINDOW_SECONDS)
        try:
            for event in stream(found["metadata"]["resourceVersion"], window):
                if event["type"] == "BOOKMARK":
                    continue
                told = True
                yield None if event["type"] == "DELETED" else event["raw_object"]
                if event["type"] == "DELETED" or patience.clock() >= until:
                    return
        except ApiException as error:
            if error.status not in AGAIN and error.status != _EXPIRED:
                raise
            wait = retry_after(error)
        except (HTTPError, OSError):
            pass
        if told:
            pause = FIRST_PAUSE
        now = patience.clock()
        if wait is None and now - opened < window:
            wait, pause = pause * patience.random(), min(2 * pause, LONGEST_PAUSE)
        if wait:
            patience.sleep(max(0.0, min(wait, until - now)))
