"""One process with all cores beside several: `python tests/benchmarks/bench_distributed.py`.

Both train the packaged encoder with the default options and the same batches (tokens at random,
lengths like those of clothing reviews), turn by turn; medians are compared. On CPUs one process has
as many threads as the other side has processes; on GPUs each has one. Measure on a quiet machine: a
neighbour hurts threads, which wait for each other after each operation, more than processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
from timing import machine  # beside this file

from components.shared.machine.base_model import MINILM

WARM_STEPS, STEPS = 4, 20


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="in all (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank:
        measured = train_some_steps(given.batch_size)
        # The ranks write to one pipe, where their lines would run into each other.
        if os.environ["RANK"] == "0":
            print(json.dumps(measured))
        return
    found: dict[int, list[dict[str, Any]]] = {1: [], given.processes: []}
    for turn in range(1, given.turns + 1):
        for processes, measured in found.items():
            measured.append(launch(processes, given.processes // processes, given.batch_size))
        rates = ", ".join(f"{n}: {m[-1]['samples']:.1f}/s" for n, m in found.items())
        print(f"turn {turn}: {rates}", flush=True)
    one, many = (
        {name: statistics.median(turn[name] for turn in turns) for name in ("samples", "summing")}
        for turns in found.values()
    )
    print(
        f"{machine()}; {found[1][0]['where']}; batches of {given.batch_size}\n"
        f"1 process: {one['samples']:.1f} samples/s; {given.processes}: {many['samples']:.1f}, "
        f"ratio {many['samples'] / one['samples']:.2f}; summing the gradients, waiting for the "
        f"other ranks included, takes {many['summing']:.1%} of the time"
    )


def launch(processes: int, threads: int, batch_size: int) -> dict[str, Any]:
    """One turn: what the first rank measured."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(processes), __file__, "--as-rank", "--batch-size", str(batch_size)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return json.loads(subprocess.check_output(command, env=environment))


def train_some_steps(batch_size: int) -> dict[str, Any]:
    """Some steps of the loop: samples per second and the share of the time spent in sums."""
    from components.training.loop.data import TokenisedReviews
    from components.training.loop.distributed import joined_ranks
    from components.training.loop.run import TrainingRun
    from components.training.options import TrainingOptions

    random = np.random.default_rng(0)
    count = batch_size * (WARM_STEPS + STEPS)
    lengths = np.clip(random.normal(80, 35, size=count), 5, 160).astype(np.int64)
    reviews = TokenisedReviews(
        tokens=random.integers(1000, 20_000, size=lengths.sum()).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        classes=random.integers(0, 3, size=count),
        ratings=random.integers(1, 6, size=count),
        copies=np.ones(count, dtype=np.int64),
    )
    with joined_ranks() as ranks:
        options = TrainingOptions(batch_size=batch_size)
        run = TrainingRun(reviews, reviews, MINILM, options, ranks)
        summing, plain_sum = 0.0, ranks.sum

        def timed_sum(*tensors: Any) -> None:
            nonlocal summing
            begun = time.perf_counter()
            plain_sum(*tensors)
            summing += time.perf_counter() - begun

        ranks.sum = timed_sum  # type: ignore[method-assign]
        batches = run.batches(epoch=0)
        for batch in batches:
            if run.step == WARM_STEPS:
                begun, summing = time.perf_counter(), 0.0
            run.train_step(batch)
            run.step += 1
        seconds = time.perf_counter() - begun
    return {
        "samples": sum(map(len, batches[WARM_STEPS:])) / seconds,
        "summing": summing / seconds,
        "where": f"{run.ranks.device}, {run.learner.precision}",
    }


if __name__ == "__main__":
    main()
