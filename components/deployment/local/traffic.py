"""Live traffic for one machine: replay reviews at a rate, and count who answered and how.

`python -m components.deployment.local.traffic --url http://127.0.0.1:8080 --reviews test.parquet`

An open loop: requests are sent when they are due, whether or not those before have been answered,
as independent clients do. Latency counts from when a request was due, so that a server that stalls
cannot hide it (Tene, "How NOT to Measure Latency", 2015: coordinated omission).
"""

import argparse
import asyncio
import json
import logging
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.deployment.local.splitter_configuration import REQUEST_ID_HEADER, VERSION_HEADER
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import write_json
from components.shared.records.open_inference import infer_path, infer_request, text_in

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

Review = tuple[str | None, str]
"""Title, if any, and body."""

_REPORT_SECONDS = 5.0
_MOST_LATENCIES = 200_000


@dataclass
class TrafficCount:
    """What became of the requests.

    Attributes:
        sent: Requests that were due and sent.
        answers: By model version (empty where the answer names none) and HTTP status.
        lost: Requests without an answer, by the kind of error.
        milliseconds: Latency of the answers with status 200, in milliseconds, by model version;
            the last 200,000 of each.
    """

    sent: int = 0
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """Requests that got an answer of any status."""
        return sum(self.answers.values())

    @property
    def failed(self) -> int:
        """Requests that were lost or answered by anything but 200."""
        return self.lost.total() + sum(n for (_, code), n in self.answers.items() if code != 200)

    def answered_by(self, version: str) -> int:
        """Answers of a model version, of any status."""
        return sum(n for (who, _), n in self.answers.items() if who == version)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values: counts, and latency percentiles by model version."""
        import numpy as np

        latency = {}
        for version, values in sorted(self.milliseconds.items()):
            p50, p99 = np.percentile(values, [50, 99])
            latency[version] = {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
        return {
            "sent": self.sent,
            "answers": [
                {"model_version": version, "status": code, "count": count}
                for (version, code), count in sorted(self.answers.items())
            ],
            "lost": dict(sorted(self.lost.items())),
            "latency_ms": latency,
        }

    def in_words(self) -> str:
        """On one line."""
        parts = [
            f"{count} by model {version or '(not named)'}"
            + ("" if code == 200 else f" with status {code}")
            for (version, code), count in sorted(self.answers.items())
        ]
        told = f"{self.sent} sent, answered: {', '.join(parts) or 'none'}"
        return told + f"; {self.lost.total()} lost{_kinds(self.lost)}"


def _kinds(lost: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{n} {kind}' for kind, n in sorted(lost.items()))})" if lost else ""


def read_reviews(path: str | Path) -> list[Review]:
    """Titles and bodies of the reviews to send.

    Args:
        path: Parquet with a column `review_body` and, if there are titles, `title`.

    Raises:
        UserError: If the file is missing, unreadable, has no such column or no review.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        if "review_body" not in names:
            raise UserError(f"{path} has no column review_body; give a file of reviews")
        columns = [name for name in ("title", "review_body") if name in names]
        rows = pq.ParquetFile(path).read(columns=columns).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a Parquet file of reviews") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}); write it again") from None
    reviews = [(row.get("title"), row["review_body"]) for row in rows if row["review_body"]]
    if not reviews:
        raise UserError(f"{path} holds no review; give a file that does")
    return reviews


def due_times(rate: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are due: a Poisson process.

    Args:
        rate: Mean number of requests a second.
        seed: Of the gaps.
    """
    chance, due = random.Random(seed), 0.0  # noqa: S311 (gaps, no secrets)
    while True:
        due += chance.expovariate(rate)
        yield due


async def replay(
    url: str,
    reviews: Sequence[Review],
    rate: float,
    *,
    count: TrafficCount,
    stop: threading.Event,
    seconds: float = float("inf"),
    model_name: str = "review-sentiment",
    connections: int = 32,
    timeout_seconds: float = 30.0,
    seed: int = 0,
    once: bool = False,
    answered: Callable[[int, str, int, bytes], None] | None = None,
) -> None:
    """Send reviews, over and over, until the time is over; then await the answers.

    Args:
        url: Of the service, without a path.
        reviews: What to send, in turn.
        rate: Mean number of requests a second.
        count: Counts what became of them, as it happens.
        stop: Ends the traffic early.
        seconds: How long to send.
        model_name: Name in the URL.
        connections: Most connections at a time.
        timeout_seconds: A request without an answer by then counts as lost.
        seed: Of the times and the request ids.
        once: Send each review once and end.
        answered: Told of each answer: index of the review, model version (empty where the answer
            names none), HTTP status and body.
    """
    import aiohttp

    target = url.rstrip("/") + infer_path(model_name)
    bodies = [json.dumps(infer_request(*review)).encode() for review in reviews]
    chance = random.Random(seed + 1)  # noqa: S311 (ids for joining logs, no secrets)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        headers={"Content-Type": "application/json"},
    ) as session:
        started, underway = time.monotonic(), set()
        for number, due in enumerate(due_times(rate, seed)):
            if once and number == len(bodies):
                break
            while (wait := started + due - time.monotonic()) > 0 and not stop.is_set():
                await asyncio.sleep(min(wait, 0.1))
            if stop.is_set() or due > seconds:
                break
            count.sent += 1
            name = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            which = number % len(bodies)
            heard = partial(answered, which) if answered else None
            task = asyncio.create_task(
                _ask(session, target, bodies[which], name, started + due, count, heard)
            )
            underway.add(task)
            task.add_done_callback(underway.discard)
        await asyncio.gather(*underway)


async def _ask(
    session: "aiohttp.ClientSession",
    target: str,
    body: bytes,
    name: str,
    due: float,
    count: TrafficCount,
    answered: Callable[[str, int, bytes], None] | None,
) -> None:
    """Send one request and count its answer."""
    import aiohttp

    try:
        async with session.post(target, data=body, headers={REQUEST_ID_HEADER: name}) as answer:
            content = await answer.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        count.lost[type(error).__name__] += 1
        return
    version = answer.headers.get(VERSION_HEADER) or text_in(content, "model_version")
    count.answers[version, answer.status] += 1
    if answer.status == 200:
        values = count.milliseconds.setdefault(version, [])
        values.append((time.monotonic() - due) * 1000)
        del values[:-_MOST_LATENCIES]
    if answered:
        answered(version, answer.status, content)


@contextmanager
def background_traffic(
    url: str, reviews: Sequence[Review], rate: float, **options: Any
) -> Iterator[TrafficCount]:
    """Traffic for as long as the block runs; the counts are whole after it.

    Args:
        url: Of the service, without a path.
        reviews: What to send, in turn.
        rate: Mean number of requests a second.
        options: Further ones of `replay`.
    """
    count, stop = TrafficCount(), threading.Event()

    def send() -> None:
        asyncio.run(replay(url, reviews, rate, count=count, stop=stop, **options))

    sender = threading.Thread(target=send, name="traffic", daemon=True)
    sender.start()
    try:
        yield count
    finally:
        stop.set()
        sender.join()


def main() -> None:
    """Parse the command line, send, and print the counts as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m components.deployment.local.traffic",
        description="Replay reviews at a rate, and count who answered and how.",
        allow_abbrev=False,
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the service")
    parser.add_argument("--reviews", required=True, type=Path, help="Parquet file")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second, on average")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="(default: until a signal)"
    )
    parser.add_argument("--model-name", default="review-sentiment", help="name in the URL")
    parser.add_argument("--connections", type=int, default=32, help="most at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the times and the request ids")
    parser.add_argument("--report", type=Path, help="JSON file that gets the counts too")
    arguments = parser.parse_args()
    if not arguments.rate > 0:
        raise UserError(f"--rate {arguments.rate} is no rate; give a number above 0")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reviews = read_reviews(arguments.reviews)
    ends = time.monotonic() + arguments.seconds
    with background_traffic(
        arguments.url,
        reviews,
        arguments.rate,
        seconds=arguments.seconds,
        model_name=arguments.model_name,
        connections=arguments.connections,
        seed=arguments.seed,
    ) as count:
        while not stop.wait(min(_REPORT_SECONDS, max(0.0, ends - time.monotonic()))):
            if time.monotonic() >= ends:
                break
            logger.info("%s", count.in_words())
    logger.info("%s", count.in_words())
    print(json.dumps(count.to_dict(), indent=2))
    if arguments.report:
        write_json(arguments.report, count.to_dict())


if __name__ == "__main__":
    exit_in_words(main)
