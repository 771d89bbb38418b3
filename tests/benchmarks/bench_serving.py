"""Our model server against what KServe's stock server does: same model, same reviews, same run.

    python tests/benchmarks/bench_serving.py --model DIR --predictions FILE

`--model` is a model folder with its engines (the artifact `exported` of a run), `--predictions`
what evaluation predicted for the test split (the artifact `predictions`). Rounds of both servers
alternate; medians of the rounds are printed. The clients run on the same cores.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import httpx
import numpy as np
import pyarrow.parquet as pq
import uvloop
from sklearn.metrics import f1_score
from timing import machine, memory_mib  # beside this file
from tqdm import tqdm

from components.serving.model.engine import cpu_limit
from components.serving.model.predictor import Predictor
from components.shared.records.labels import CLASS_NAMES, SENTIMENTS
from components.shared.records.text import model_text

PATH = "/v1/models/review-sentiment:predict"


@dataclass
class Load:
    """What clients saw: milliseconds of each answer by status, and how long the load lasted."""

    milliseconds: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0
    seconds: float = 0.0

    @property
    def answered(self) -> list[float]:
        return self.milliseconds.get(200, [])

    @property
    def per_second(self) -> float:
        return len(self.answered) / self.seconds

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.answered, percent))


async def ask(session: aiohttp.ClientSession, url: str, body: bytes, load: Load) -> None:
    started = time.perf_counter()
    try:
        async with session.post(url, data=body) as response:
            await response.read()
            status = response.status
    except aiohttp.ClientError:
        load.lost += 1
        return
    milliseconds = (time.perf_counter() - started) * 1000
    load.milliseconds.setdefault(status, []).append(milliseconds)


def client_session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        headers={"content-type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def closed_loop(url: str, bodies: list[bytes], clients: int, seconds: float) -> Load:
    """Each client asks again as soon as it has its answer."""
    load, turn = Load(), iter(range(10**9))
    async with client_session(clients) as session:
        started = time.perf_counter()

        async def client() -> None:
            while time.perf_counter() - started < seconds:
                await ask(session, url, bodies[next(turn) % len(bodies)], load)

        await asyncio.gather(*(client() for _ in range(clients)))
        load.seconds = time.perf_counter() - started
    return load


async def open_loop(url: str, bodies: list[bytes], rate: float, seconds: float) -> Load:
    """Requests come at random moments (Poisson), whether or not earlier ones are answered."""
    load, random = Load(), np.random.default_rng(0)
    async with client_session(4096) as session:
        started, due, asked = time.perf_counter(), 0.0, []
        for number in tqdm(range(int(rate * seconds)), unit=" requests", mininterval=5):
            due += random.exponential(1 / rate)
            if (pause := started + due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            body = bodies[number % len(bodies)]
            asked.append(asyncio.ensure_future(ask(session, url, body, load)))
        await asyncio.gather(*asked)
        load.seconds = time.perf_counter() - started
    return load


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    name: str
    process: subprocess.Popen
    url: str
    seconds_to_first_answer: float

    def memory(self, which: str) -> float:
        return memory_mib(which, self.process.pid)


@contextmanager
def running(name: str, command: Callable[[int], list[str]], body: bytes) -> Iterator[Server]:
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}{PATH}"
    try:
        while not asyncio.run(answers(url, body)):
            if process.poll() is not None or time.perf_counter() - started > 120:
                raise SystemExit(f"error: server {name} did not start: {' '.join(command(port))}")
            time.sleep(0.05)
        yield Server(name, process, url, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(30)


async def answers(url: str, body: bytes) -> bool:
    load = Load()
    async with client_session(1) as session:
        await ask(session, url, body, load)
    return bool(load.answered)


def ceiling(model: Path, texts: list[str], seconds: float = 6.0) -> tuple[str, dict[int, float]]:
    """Reviews/s of the engine itself, without a server, by batch size; as many passes side by side
    as it wants, reviews sorted by length in windows as large as the server's."""
    predictor = Predictor(model)
    engine = predictor.engine
    ids = [tokens.ids for tokens in predictor.tokenise(texts)]
    found = {}
    for batch in (1, 2, 4, 8, 16):
        windows = (sorted(ids[start : start + 32], key=len) for start in range(0, len(ids), 32))
        batches = [w[start : start + batch] for w in windows for start in range(0, len(w), batch)]
        with ThreadPoolExecutor(engine.parallel) as threads:
            list(threads.map(engine.logits, batches[:40]))
            done, started = 0, time.perf_counter()
            for first in range(0, len(batches), 40):
                group = batches[first : first + 40]
                done += sum(len(rows) for rows in threads.map(engine.logits, group))
                if time.perf_counter() - started > seconds:
                    break
            found[batch] = done / (time.perf_counter() - started)
    return engine.name, found


def agreement(url: str, table: dict[str, list], texts: list[str]) -> None:
    """Served labels of the whole test split against what torch in fp32 predicted for it."""
    found = []
    for start in range(0, len(texts), 200):
        answer = httpx.post(url, json={"instances": texts[start : start + 200]}, timeout=60)
        found += [row["label_id"] for row in answer.json()["predictions"]]
    labels = np.array(found)
    truth = np.array([SENTIMENTS.index(value) for value in table["sentiment"]])
    reference = np.array([CLASS_NAMES.index(value) for value in table["label"]])
    scores = [f1_score(truth, given, average="macro") for given in (labels, reference)]
    print(
        f"labels as torch fp32: {(labels == reference).mean():.2%} of {len(labels)} test reviews; "
        f"macro-F1 {scores[0]:.4f} (fp32 {scores[1]:.4f}, {100 * (scores[0] - scores[1]):+.2f} "
        "points)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder with engines")
    parser.add_argument("--predictions", type=Path, required=True, help="of the test split")
    parser.add_argument("--rounds", type=int, default=3, help="of both servers (default: 3)")
    parser.add_argument("--seconds", type=float, default=10, help="of each load (default: 10)")
    parser.add_argument("--clients", type=int, default=32, help="at once (default: 32)")
    parser.add_argument("--overload", type=float, default=60, help="seconds; 0 leaves it out")
    options = parser.parse_args()
    table = pq.read_table(options.predictions).to_pydict()
    texts = [model_text(*pair) for pair in zip(table["title"], table["review_body"], strict=True)]
    bodies = [json.dumps({"instances": [text]}).encode() for text in texts]
    max_tokens = json.loads((options.model / "training.json").read_text())["max_tokens"]
    print(f"{machine()}; {cpu_limit()} used, {len(texts)} reviews, {options.clients} clients")

    engine, rates = ceiling(options.model, texts)
    best = max(rates, key=rates.get)
    told = ", ".join(f"{batch}: {rate:.0f}" for batch, rate in rates.items())
    print(f"ceiling: {engine} alone, reviews/s by batch size: {told}")

    here = Path(__file__).parent

    def stock(port: int) -> list[str]:
        command = [str(here / "stock_server.py"), "--model-dir", str(options.model)]
        return [*command, "--max-tokens", str(max_tokens), "--port", str(port)]

    def ours(port: int) -> list[str]:
        command = ["-m", "components.serving", "--model-dir", str(options.model)]
        return [*command, "--model-version", "1", "--http-port", str(port)]

    with running("stock", stock, bodies[0]) as one, running("ours", ours, bodies[0]) as two:
        single: dict[str, list[Load]] = {"stock": [], "ours": []}
        many: dict[str, list[Load]] = {"stock": [], "ours": []}
        for _ in range(options.rounds):
            for server in (one, two):

                def load(clients: int, seconds: float, url: str = server.url) -> Load:
                    return asyncio.run(closed_loop(url, bodies, clients, seconds))

                load(4, 2)  # warm
                single[server.name].append(load(1, options.seconds / 2))
                many[server.name].append(load(options.clients, options.seconds))
        figures = {
            name: {
                "one client, p50 ms": median(load.percentile(50) for load in single[name]),
                "reviews/s": median(load.per_second for load in many[name]),
                "p50 ms": median(load.percentile(50) for load in many[name]),
                "p99 ms": median(load.percentile(99) for load in many[name]),
            }
            for name in ("stock", "ours")
        }
        for server in (one, two):
            figures[server.name]["start to answer, s"] = server.seconds_to_first_answer
            figures[server.name]["peak memory, MiB"] = server.memory("VmHWM")
        print(f"\n{'':22}{'stock':>10}{'ours':>10}{'ratio':>10}")
        for name, before in figures["stock"].items():
            after = figures["ours"][name]
            print(f"{name:22}{before:10.1f}{after:10.1f}{after / before:10.2f}")
        rate = figures["ours"]["reviews/s"]
        print(f"\n{rate / rates[best]:.0%} of the ceiling ({rates[best]:.0f} at batch {best})")
        agreement(two.url, table, texts)
        if options.overload:
            overload(two, bodies, 2 * rate, options.overload)


def overload(server: Server, bodies: list[bytes], rate: float, seconds: float) -> None:
    """Twice what the server can do, in four parts, so that memory can be seen to level off."""
    memory, milliseconds, lost = [server.memory("VmRSS")], {200: [], 503: []}, 0
    for _ in range(4):
        load = asyncio.run(open_loop(server.url, bodies, rate, seconds / 4))
        memory.append(server.memory("VmRSS"))
        lost += load.lost
        for status, times in load.milliseconds.items():
            milliseconds.setdefault(status, []).extend(times)
    counts = {status: len(times) for status, times in milliseconds.items()}
    print(f"overload, {rate:.0f} requests/s for {seconds:.0f} s: by status {counts}, lost {lost}")
    for name, status in (("accepted", 200), ("refused", 503)):
        p50, p99, longest = np.percentile(milliseconds[status] or [0.0], (50, 99, 100))
        each_second = len(milliseconds[status]) / seconds
        print(f"  {name}: {each_second:.0f}/s, ms: p50 {p50:.0f}, p99 {p99:.0f}, max {longest:.0f}")
    print("  memory, MiB:", ", ".join(f"{value:.0f}" for value in memory))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    uvloop.install()
    main()
