"""Our model server against what KServe's stock server does: same model, same reviews, same run.

`--model` is a model folder with its engines (the artifact `exported` of a run), `--predictions`
what evaluation predicted for the test split (the artifact `predictions`). Rounds of both servers
alternate; medians of the rounds are printed. The clients run on the same cores.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import pyarrow.parquet as pq
import uvloop
from sklearn.metrics import f1_score
from timing import in_turns, machine, medians, memory_mib, print_compared  # beside this file

from components.serving.model.engine import cpu_limit
from components.serving.model.predictor import Predictor
from components.shared.machine.ports import free_port
from components.shared.records.labels import SENTIMENTS
from components.shared.records.text import model_text

PATH = "/v1/models/review-sentiment:predict"


@dataclass
class Load:
    """What clients saw: milliseconds of each answer by status, and how long the load lasted."""

    milliseconds: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0
    seconds: float = 0.0

    @property
    def answered(self):
        return self.milliseconds.get(200, [])

    @property
    def per_second(self):
        return len(self.answered) / self.seconds

    def percentile(self, percent):
        return float(np.percentile(self.answered, percent))


async def ask(session, url, body, load):
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


def client_session(connections):
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        headers={"content-type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def closed_loop(url, bodies, clients, seconds):
    """Each client asks again as soon as it has its answer."""
    load, turn = Load(), iter(range(10**9))
    async with client_session(clients) as session:
        started = time.perf_counter()

        async def client():
            while time.perf_counter() - started < seconds:
                await ask(session, url, bodies[next(turn) % len(bodies)], load)

        await asyncio.gather(*(client() for _ in range(clients)))
        load.seconds = time.perf_counter() - started
    return load


async def open_loop(url, bodies, rate, seconds):
    """Requests come at random moments (Poisson), whether or not earlier ones are answered."""
    load, random = Load(), np.random.default_rng(0)
    async with client_session(4096) as session:
        started, due, asked = time.perf_counter(), 0.0, []
        for number in range(int(rate * seconds)):
            due += random.exponential(1 / rate)
            if (pause := started + due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            body = bodies[number % len(bodies)]
            asked.append(asyncio.ensure_future(ask(session, url, body, load)))
        await asyncio.gather(*asked)
        load.seconds = time.perf_counter() - started
    return load


@dataclass
class Server:
    name: str
    process: subprocess.Popen
    url: str
    seconds_to_first_answer: float

    def memory(self, which):
        return memory_mib(which, self.process.pid)


@contextmanager
def running(name, command, body):
    port = free_port("127.0.0.1", 0)
    started = time.perf_counter()
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *command, str(port)], **silent)
    url = f"http://127.0.0.1:{port}{PATH}"
    try:
        while not answers(url, body):
            if process.poll() is not None or time.perf_counter() - started > 120:
                raise SystemExit(f"error: server {name} did not start: {' '.join(command)}")
            time.sleep(0.05)
        yield Server(name, process, url, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(30)


def answers(url, body):
    with suppress(httpx.TransportError):
        return httpx.post(url, json=json.loads(body), timeout=60).is_success


def ceiling(model, texts, seconds=6.0):
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


def agreement(url, table, texts):
    """Served labels of the whole test split against what torch in fp32 predicted for it."""
    found = []
    for start in range(0, len(texts), 200):
        answer = httpx.post(url, json={"instances": texts[start : start + 200]}, timeout=60)
        found += [row["label_id"] for row in answer.json()["predictions"]]
    labels = np.array(found)
    truth = np.array([SENTIMENTS.values.index(value) for value in table["sentiment"]])
    reference = np.array([SENTIMENTS.names.index(value) for value in table["label"]])
    scores = [f1_score(truth, given, average="macro") for given in (labels, reference)]
    print(
        f"labels as torch fp32: {(labels == reference).mean():.2%} of {len(labels)} test reviews; "
        f"macro-F1 {scores[0]:.4f} (fp32 {scores[1]:.4f}, {100 * (scores[0] - scores[1]):+.2f} "
        "points)"
    )


def main():
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

    model = ["--model-dir", str(options.model)]
    stock = [str(here / "stock_server.py"), *model, "--max-tokens", str(max_tokens), "--port"]
    ours = ["-m", "components.serving", *model, "--model-version", "1", "--http-port"]
    with running("stock", stock, bodies[0]) as one, running("ours", ours, bodies[0]) as two:

        def measured(server, turn):
            def load(clients, seconds):
                return asyncio.run(closed_loop(server.url, bodies, clients, seconds))

            load(4, 2)  # warm
            single, many = load(1, options.seconds / 2), load(options.clients, options.seconds)
            found = {"one client, p50 ms": single.percentile(50), "reviews/s": many.per_second}
            return found | {f"p{percent} ms": many.percentile(percent) for percent in (50, 99)}

        *_, found = in_turns({x.name: partial(measured, x) for x in (one, two)}, options.rounds)
        figures = medians(found)
        for server in (one, two):
            figures[server.name]["start to answer, s"] = server.seconds_to_first_answer
            figures[server.name]["peak memory, MiB"] = server.memory("VmHWM")
        print()
        print_compared(figures)
        rate = figures["ours"]["reviews/s"]
        print(f"\n{rate / rates[best]:.0%} of the ceiling ({rates[best]:.0f} at batch {best})")
        agreement(two.url, table, texts)
        if options.overload:
            overload(two, bodies, 2 * rate, options.overload)


def overload(server, bodies, rate, seconds):
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
