"""Live traffic for one machine: replay reviews at a rate, and count who answered and how.

`python -m components.deployment.local.traffic --url http://127.0.0.1:8090 --reviews test.parquet`

An open loop: requests are sent when they are due, whether or not those before have been answered,
as independent clients do. Latency counts from when a request was due, so that a server that stalls
cannot hide it (Tene, "How NOT to Measure Latency", 2015: coordinated omission).

It asks by aiohttp: where that kept up with 500 requests a second, httpx fell behind at 200.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_parquet, write_json
from components.shared.records.open_inference import (
    AskedReview,
    infer_path,
    infer_request,
    text_in,
)

logger = logging.getLogger(__name__)

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
        return self.answers.total()

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


@dataclass(frozen=True)
class Load:
    """What is sent where, and how fast.

    Attributes:
        url: URL of the service, without a path.
        reviews: What to send, in turn, over and over.
        rate: Mean number of requests a second.
        seconds: How long to send.
        model_name: Name in the URL.
        connections: Most connections at a time.
        timeout_seconds: A request without an answer by then counts as lost.
        seed: Seed of the times and the request ids.
    """

    url: str
    reviews: Sequence[AskedReview]
    rate: float
    seconds: float = float("inf")
    model_name: str = "review-sentiment"
    connections: int = 32
    timeout_seconds: float = 30.0
    seed: int = 0

    def due_times(self) -> Iterator[float]:
        """Seconds from the start at which requests are due: a Poisson process."""
        chance, due = random.Random(self.seed), 0.0  # noqa: S311 (gaps, no secrets)
        while (due := due + chance.expovariate(self.rate)) <= self.seconds:
            yield due


def read_reviews(path: str | Path) -> list[AskedReview]:
    """The reviews in a Parquet file: bodies, and title, id and category where it has such columns.

    Raises:
        UserError: If the file is missing, unreadable, has no `review_body` or no review.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("review_body", "title", "review_id", "product_category")
    columns = pa.schema([(name, pa.string()) for name in names])
    try:
        there = [name for name in names[1:] if name in pq.read_schema(path).names]
    except (OSError, pa.ArrowInvalid):
        there = []  # what is wrong is said below
    rows = read_parquet(path, columns, [names[0], *there]).to_pylist()
    reviews = [
        AskedReview(row.get("title"), row["review_body"], *(row.get(n) or "" for n in names[2:]))
        for row in rows
        if row["review_body"]
    ]
    if not reviews:
        raise UserError(f"{path} holds no review; give a file that does")
    return reviews


async def replay(load: Load, count: TrafficCount, stop: threading.Event) -> None:
    """Send reviews until the time is over or `stop` is set; then await the answers.

    Args:
        load: What is sent.
        count: Counts what became of the requests, as it happens.
        stop: Ends the traffic early.
    """
    import aiohttp

    target = load.url.rstrip("/") + infer_path(load.model_name)
    bodies = [json.dumps(infer_request(*review)).encode() for review in load.reviews]
    chance = random.Random(load.seed + 1)  # noqa: S311 (ids for joining logs, no secrets)

    async def ask(body: bytes, request_id: str, due: float) -> None:
        try:
            headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
            async with session.post(target, data=body, headers=headers) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            count.lost[type(error).__name__] += 1
            return
        version = answer.headers.get("X-Model-Version") or text_in(content, "model_version")
        count.answers[version, answer.status] += 1
        if answer.status == 200:
            values = count.milliseconds.setdefault(version, [])
            values.append((time.monotonic() - due) * 1000)
            del values[:-_MOST_LATENCIES]

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=load.connections),
        timeout=aiohttp.ClientTimeout(total=load.timeout_seconds),
    ) as session:
        started, underway = time.monotonic(), set()
        for number, due in enumerate(load.due_times()):
            while (wait := started + due - time.monotonic()) > 0 and not stop.is_set():
                await asyncio.sleep(min(wait, 0.1))
            if stop.is_set():
                break
            count.sent += 1
            request_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            task = asyncio.create_task(ask(bodies[number % len(bodies)], request_id, started + due))
            underway.add(task)
            task.add_done_callback(underway.discard)
        await asyncio.gather(*underway)


@contextmanager
def background_traffic(load: Load) -> Iterator[TrafficCount]:
    """Traffic for as long as the block runs; the counts are whole after it."""
    count, stop = TrafficCount(), threading.Event()
    send = threading.Thread(target=lambda: asyncio.run(replay(load, count, stop)), daemon=True)
    send.start()
    try:
        yield count
    finally:
        stop.set()
        send.join()


def main() -> None:
    """Parse the command line, send, and print the counts as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m components.deployment.local.traffic",
        description="Replay reviews at a rate, and count who answered and how.",
        allow_abbrev=False,
    )
    parser.add_argument("--url", default="http://127.0.0.1:8090", help="URL of the service")
    parser.add_argument("--reviews", required=True, type=Path, help="Parquet file")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second, on average")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="(default: until a signal)"
    )
    parser.add_argument("--model-name", default="review-sentiment", help="name in the URL")
    parser.add_argument("--connections", type=int, default=32, help="most at a time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the times and request ids")
    parser.add_argument("--report", type=Path, help="JSON file that gets the counts too")
    given = vars(parser.parse_args())
    if not given["rate"] > 0:
        raise UserError(f"--rate {given['rate']} is not a rate; give a number above 0")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    report, reviews = given.pop("report"), read_reviews(given.pop("reviews"))
    ends = time.monotonic() + given["seconds"]
    with background_traffic(Load(reviews=reviews, **given)) as count:
        while (left := ends - time.monotonic()) > 0 and not stop.wait(min(_REPORT_SECONDS, left)):
            logger.info("%s", json.dumps(count.to_dict()))
    logger.info("%s", json.dumps(count.to_dict()))
    print(json.dumps(count.to_dict(), indent=2))
    if report:
        write_json(report, count.to_dict())


if __name__ == "__main__":
    exit_in_words(main)
