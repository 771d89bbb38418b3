"""One process with all cores beside several.

Both train the packaged encoder on the same batches (tokens at random, lengths like those of
clothing reviews). On CPUs one process has as many threads as the other side has processes. Measure
on a quiet machine: a neighbour hurts threads, which wait for each other, more than processes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial

import numpy as np
from timing import in_turns, machine, medians  # beside this file

from components.shared.machine.base_model import MINILM

WARM_STEPS, STEPS = 4, 20


def main():
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
    where, several = set(), {1: given.processes, given.processes: 1}

    def launched(processes, turn):
        measured = launch(processes, several[processes], given.batch_size)
        where.add(measured.pop("where"))
        return measured

    ways = {str(processes): partial(launched, processes) for processes in several}
    for turn, found in enumerate(in_turns(ways, given.turns), start=1):
        rates = ", ".join(f"{n}: {m[-1]['samples']:.1f}/s" for n, m in found.items())
        print(f"turn {turn}: {rates}", flush=True)
    one, many = medians(found).values()
    print(
        f"{machine()}; {' and '.join(where)}; batches of {given.batch_size}\n"
        f"1 process: {one['samples']:.1f} samples/s; {given.processes}: {many['samples']:.1f}, "
        f"ratio {many['samples'] / one['samples']:.2f}; summing the gradients, waiting for the "
        f"other ranks included, takes {many['summing']:.1%} of the time"
    )


def launch(processes, threads, batch_size):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(processes), __file__, "--as-rank", "--batch-size", str(batch_size)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return json.loads(subprocess.check_output(command, env=environment))


def train_some_steps(batch_size):
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
        weights=np.ones(count, dtype=np.float32),
        weak=np.zeros(count, dtype=bool),
    )
    with joined_ranks() as ranks:
        options = TrainingOptions(batch_size=batch_size)
        run = TrainingRun(reviews, reviews, MINILM, options, ranks)
        summing, plain_sum = 0.0, ranks.sum

        def timed_sum(*tensors):
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
