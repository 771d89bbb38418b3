"""Batch scoring against the bare engine, and how time and memory grow with the reviews.

`--model` is a model folder with its engines (the artifact `exported` of a run), `--reviews` reviews
in Parquet with `title` and `review_body`, such as the artifact `prepared`. The bare engine gets the
same reviews as tokens that are ready, in batches that are padded already, and its answers are
thrown away: what it needs is what no scoring can do without. Rounds of all ways alternate; medians
after a warm round are printed.

`--scale COUNT…` scores so many reviews, by repetition, each in a process of its own.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from timing import in_own_process, in_turns, machine, medians, memory_mib, timed  # beside this file

from components.data.unlabelled import read_unlabelled
from components.serving.batch.job import Job
from components.serving.batch.score import Work, score_reviews, score_shards
from components.serving.batch.shard import ShardScorer
from components.serving.model.engine import cpu_limit
from components.serving.server.sentiment_model import SentimentModel
from components.shared.machine.openvino_network import padded
from components.shared.records.engines import read_engines
from components.shared.records.model_logits import texts_of
from components.shared.records.scored import SHARD_REVIEWS, TO_SCORE_SCHEMA

BATCHES = (4, 8, 16, 32, 64)
ONLINE_REVIEWS = 512


def write_reviews(source, count, path):
    """So many of the source's reviews, again from the beginning where it has fewer; flat memory."""
    table = pq.read_table(source, columns=["title", "review_body"])
    table = table.slice(0, min(count, table.num_rows // SHARD_REVIEWS * SHARD_REVIEWS or count))
    with pq.ParquetWriter(path, TO_SCORE_SCHEMA, compression="zstd") as writer:
        for first in range(0, count, SHARD_REVIEWS):
            rows = range(first, min(first + SHARD_REVIEWS, count))
            taken = table.take(pa.array([row % table.num_rows for row in rows]))
            made = {
                "source": pa.repeat(pa.scalar("bench"), len(rows)),
                "line": pa.array(rows, pa.int64()),
                "review_id": pa.array([str(row) for row in rows]),
                "product_category": pa.nulls(len(rows), pa.string()),
                **{name: taken[name] for name in taken.column_names},
            }
            columns = [made[name] for name in TO_SCORE_SCHEMA.names]
            writer.write_table(pa.table(columns, schema=TO_SCORE_SCHEMA))
    return path


class BareEngine:
    """OpenVINO's own queue of requests, one stream a core, on batches that are ready."""

    def __init__(self, model, engine, tokens):
        import openvino

        check = next(check for check in read_engines(model) if check.name == engine)
        options = {"INFERENCE_PRECISION_HINT": check.precision, "NUM_STREAMS": cpu_limit()}
        options["INFERENCE_NUM_THREADS"] = cpu_limit()
        compiled = openvino.Core().compile_model(model / check.file, "CPU", options)
        self.requests = openvino.AsyncInferQueue(compiled, cpu_limit())
        self.pad = int(json.loads((model / "config.json").read_text())["pad_token_id"] or 0)
        self.tokens = tokens

    def batches(self, size):
        """As scoring forms them: of like length within a shard, the longest first."""
        for first in range(0, len(self.tokens), SHARD_REVIEWS):
            shard = sorted(self.tokens[first : first + SHARD_REVIEWS], key=len, reverse=True)
            for start in range(0, len(shard), size):
                ids, mask = padded(shard[start : start + size], self.pad)
                yield {"input_ids": ids, "attention_mask": mask}

    def rate(self, size, turn):
        ready = list(self.batches(size))

        def compute():
            for batch in ready:
                self.requests.start_async(batch)
            self.requests.wait_all()

        return figures(compute, len(self.tokens))


def scoring_rate(scorer, work, folder, turn):
    """From the file of reviews to files of predictions, with the model loaded."""
    for part in folder.glob("part-*"):
        part.unlink()
    return figures(lambda: score_shards(scorer, work), sum(work.job.rows))


def figures(compute, reviews):
    """Rate, and CPU time of all threads, which what else the machine does disturbs less."""
    wall, cpu = timed(compute)
    return {"reviews/s": reviews / wall, "cpu": reviews / cpu}


def against_online(model, engine, reviews, folder):
    """How far batch answers lie from those of the model server for the same reviews."""
    table = pq.read_table(reviews).slice(0, ONLINE_REVIEWS)
    texts = texts_of(table)
    server = SentimentModel("m", "1", model, engine=engine, limits={"max_wait_seconds": 600.0})

    async def ask():
        singles = [{"instances": [text]} for text in texts]
        return await asyncio.gather(*(server.predict(one, {}) for one in singles))

    online = [row for answer in asyncio.run(ask()) for row in answer["predictions"]]
    server.stop()
    rows = pq.read_table(folder).sort_by("line").slice(0, ONLINE_REVIEWS).to_pylist()
    names = list(online[0]["probabilities"])
    ours = np.array([[row[f"p_{name}"] for name in names] for row in rows])
    theirs = np.array([list(row["probabilities"].values()) for row in online])
    equal = np.array([row["label"] == o["label"] for row, o in zip(rows, online, strict=True)])
    second, first = np.sort(ours)[:, -2:].T
    apart = (first - second)[~equal].max(initial=0.0)
    print(
        f"against the model server on {len(rows)} reviews: {equal.mean():.2%} of the labels equal, "
        f"probabilities within {np.abs(ours - theirs).max():.4f}; where labels differ, the top two "
        f"lie at most {apart:.4f} apart"
    )


def compare(options, folder):
    reviews = write_reviews(options.reviews, options.count, folder / "reviews.parquet")
    job = Job.of(reviews, options.model, "m", "1")
    scorer = ShardScorer(str(options.model), job.model, options.engine)
    engine, out = scorer.engine(), folder / "out"
    tokens = [row.ids for row in scorer._predictor.tokenise(texts_of(pq.read_table(reviews)))]
    lengths = [len(row) for row in tokens]
    print(
        f"{machine()}; {cpu_limit()} used, {len(tokens)} reviews of {np.mean(lengths):.0f} tokens "
        f"(median {np.median(lengths):.0f}, longest {max(lengths)}), {engine}"
    )
    out.mkdir()
    work = Work(reviews, options.model, out, job, range(len(job.rows)), engine)
    bare = BareEngine(options.model, engine, tokens)
    ways = {f"bare, batch {size}": partial(bare.rate, size) for size in BATCHES}
    ways["scoring"] = partial(scoring_rate, scorer, work, out)
    *_, found = in_turns(ways, options.rounds + 1)
    rates = medians(found, warm=1)
    for name, rate in rates.items():
        print(f"{name:20}{rate['reviews/s']:8.0f} reviews/s{rate['cpu']:8.0f} per CPU second")
    ours = rates.pop("scoring")
    for figure in ours:
        best = max(rates, key=lambda name, figure=figure: rates[name][figure])
        share = ours[figure] / rates[best][figure]
        print(f"scoring, from file to files: {share:.0%} of the engine's best ({best}) by {figure}")
    against_online(options.model, engine, reviews, out)


def scaled(options, count):
    """Read and score so many reviews in this process: how long it took, how much memory it had."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = write_reviews(options.reviews, count, folder / "given.parquet")
        names = {"model_name": "m", "model_version": "1", "engine": options.engine}
        reviews = folder / "reviews.parquet"
        reading, _ = timed(lambda: read_unlabelled(str(given), reviews, folder / "quarantine"))
        read = memory_mib()
        started = time.perf_counter()
        done = score_reviews(reviews, options.model, folder / "out", **names)
        seconds = time.perf_counter() - started
        written = sum(path.stat().st_size for path in (folder / "out").iterdir()) / 2**20
    found = {"reading": reading, "read MiB": read, "seconds": seconds, "reviews": done.reviews}
    print(json.dumps(found | {"MiB": memory_mib(), "written MiB": written, "engine": done.engine}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder with engines")
    parser.add_argument("--reviews", type=Path, required=True, help="Parquet with their texts")
    parser.add_argument("--engine", default="auto", help="of the folder (default: auto)")
    parser.add_argument("--count", type=int, default=4096, help="reviews (default: 4096)")
    parser.add_argument("--rounds", type=int, default=3, help="that count (default: 3)")
    parser.add_argument("--scale", type=int, nargs="*", help="score so many reviews instead")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        scaled(options, options.one)
        return
    if not options.scale:
        with tempfile.TemporaryDirectory() as folder:
            compare(options, Path(folder))
        return
    print(f"{machine()}; each count in a process of its own")
    named = ["--model", options.model, "--reviews", options.reviews, "--engine", options.engine]
    for count in options.scale:
        one = in_own_process(__file__, *named, "--one", count)
        print(
            f"{one['reviews']:>9,} reviews: read in {one['reading']:6.1f} s, scored in "
            f"{one['seconds']:7.1f} s ({1000 * one['seconds'] / count:.2f} ms each) by "
            f"{one['engine']}; peak memory {one['read MiB']:,.0f} MiB to read, {one['MiB']:,.0f} "
            f"in all; {one['written MiB']:,.0f} MiB of predictions",
            flush=True,
        )


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
