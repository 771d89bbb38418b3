"""How fast and how large the features step is: a line per measure.

Tokenisation against the course's way, retrieval through Feast with DuckDB against Feast's default
store, and duration and peak memory at once and ten times the rows.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from timing import in_own_process, in_turns, machine, medians, memory_mib, timed  # beside

from components.shared.machine.base_model import load_tokenizer, resolve_base_model
from components.shared.records.reviews import PREPARED_SCHEMA, SPLITS
from components.shared.records.text import model_text

MAX_TOKENS = 128
BARS = {"tokenisation": 20.0, "retrieval_seconds": 1.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="prepared reviews (Parquet); synthesised if none")
    parser.add_argument("--rows", type=int, default=20_000, help="reviews at 1x")
    parser.add_argument("--times", type=int, default=10, help="the larger size of the last part")
    parser.add_argument(
        "--step", choices=["build", "build again", "retrieve"], help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.step:
        measure_step(options.step, options.data)
        return
    parallel = os.environ.get("TOKENIZERS_PARALLELISM", "unset (on)")
    print(f"{machine()}, TOKENIZERS_PARALLELISM={parallel}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ.pop("FEATURE_STORE_CONFIG", None)
        bench_tokenise(reviews(work, options.data, options.rows), work)
        for times in (1, 2, 4):
            os.environ["FEATURE_STORE_DIR"] = str(work / f"store-{times}")
            path = reviews(work, options.data, options.rows * times)
            bench_retrieve(path, work, with_dask=times == 1)
        for times in (1, options.times):
            os.environ["FEATURE_STORE_DIR"] = str(work / f"scale-{times}")
            bench_scale(reviews(work, options.data, options.rows * times), times)


def reviews(work, data, rows):
    """Write a prepared file of exactly `rows` reviews: given ones repeated, or made-up ones."""
    path = work / f"prepared-{rows}.parquet"
    if path.exists():
        return path
    random = np.random.default_rng(0)
    if data is None:
        vocabulary = Path(resolve_base_model("minilm"), "vocab.txt").read_text("utf-8").split("\n")
        words = np.array([word for word in vocabulary if word.isalpha() and word.isascii()])
        sizes = {"review_body": random.integers(5, 115, rows), "title": [3] * rows}
        columns: dict[str, list] = {
            name: [" ".join(random.choice(words, size)) for size in several]
            for name, several in sizes.items()
        }
    else:
        given = pq.read_table(data, columns=["review_body", "title"])
        table = given.take(pa.array(np.arange(rows) % given.num_rows))
        columns = table.to_pydict()
    columns |= {
        "review_id": [f"r{row:08d}" for row in random.permutation(rows)],
        "sentiment": [row % 3 - 1 for row in range(rows)],
        "rating": [1 + row % 5 for row in range(rows)],
        "product_category": ["Dresses"] * rows,
        "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * rows,
        "split": [SPLITS[row % 3] for row in range(rows)],
        "copies": [1] * rows,
        "label_source": ["rating"] * rows,
        "label_probability": [1.0] * rows,
        "weight": [1.0] * rows,
    }
    whole = {name: columns.get(name, [None] * rows) for name in PREPARED_SCHEMA.names}
    pq.write_table(pa.table(whole, schema=PREPARED_SCHEMA), path)
    return path


def bench_tokenise(prepared, work):
    """Compare with one call per review, padded to 128, on the same rows.

    Two rows of the table are the course's way: its `encode_plus` with `return_tensors="pt"` on a
    tokenizer written in Python (what its tokenizer class was; transformers 5 keeps BERT's as
    "legacy"), and the same call, without tensors, on the fast tokenizer, which is the best that a
    row-by-row loop can do today. Reading and writing Parquet counts for ours only.
    """
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    from components.features.tokenise import ReviewTokenizer, tokenise_reviews

    table = pq.read_table(prepared, columns=["title", "review_body"])
    titles, bodies = table["title"].to_pylist(), table["review_body"].to_pylist()
    ours, rust = ReviewTokenizer("minilm", MAX_TOKENS), load_tokenizer("minilm")
    python = BertTokenizerLegacy(str(Path(resolve_base_model("minilm"), "vocab.txt")))

    def row_by_row(tokenizer, **named):
        fixed = {"padding": "max_length", "truncation": True, "max_length": MAX_TOKENS}
        for title, body in zip(titles, bodies, strict=True):
            tokenizer(model_text(title, body), **fixed, **named)

    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: tokenise_reviews(prepared, ours, work / "tokens.parquet"),
        "Python tokenizer with tensors": lambda: row_by_row(python, return_tensors="pt"),
        "row by row, fast tokenizer": lambda: row_by_row(rust),
    }

    def seconds(way, turn):
        return dict(zip(("wall", "cpu"), timed(ways[way]), strict=True))

    *_, times = in_turns({way: partial(seconds, way) for way in ways}, 3)
    found = {way: tuple(figures.values()) for way, figures in medians(times).items()}
    wall, cpu = found.pop("ours")
    print(f"tokenise {len(bodies)} reviews, ours: {len(bodies) / wall:.0f}/s (CPU {cpu:.2f} s)")
    for way, (their_wall, their_cpu) in found.items():
        print(
            f"tokenise, {way}: {len(bodies) / their_wall:.0f}/s (CPU {their_cpu:.2f} s); ratio "
            f"{their_wall / wall:.1f} wall (bar {BARS['tokenisation']:.0f}), "
            f"{their_cpu / cpu:.1f} CPU"
        )


def bench_retrieve(prepared, work, with_dask):
    """Time the point-in-time join, with its checks, sorting and writing; Feast imported before."""
    import feature_repo
    from components.features import publish
    from components.features.retrieve import retrieve_training_set

    # The online copy has no part in this and would take most of the time.
    copy, publish.copy_online = publish.copy_online, lambda *_: (0, 0.0)
    try:
        summary = publish.build_features(
            prepared, "minilm", MAX_TOKENS, "bench", work / "f.parquet", work / "s.json"
        )
    finally:
        publish.copy_online = copy
    os.environ.pop("FEATURE_STORE_CONFIG", None)
    given = prepared, summary.feature_service
    retrieve_training_set(*given, work / "warm.parquet")
    results = [retrieve_training_set(*given, work / "set.parquet") for _ in range(5)]
    seconds = float(np.median([result.seconds for result in results]))
    print(
        f"retrieve {summary.rows} reviews, DuckDB: {seconds:.2f} s, of it Feast's join "
        f"{np.median([result.join_seconds for result in results]):.2f} s; "
        f"{seconds / summary.rows * 1e6:.1f} µs a review"
        + (f" (bar {BARS['retrieval_seconds']:.0f} s)" if summary.rows == 20_000 else "")
    )
    if not with_dask:
        return
    config = work / "dask.yaml"
    embedded = Path(feature_repo.__path__[0]) / "feature_store.yaml"
    config.write_text(embedded.read_text().replace("type: duckdb", "type: dask"))
    os.environ["FEATURE_STORE_CONFIG"] = str(config)
    slow = retrieve_training_set(*given, work / "dask.parquet")
    os.environ.pop("FEATURE_STORE_CONFIG")
    same = pq.read_table(work / "dask.parquet").equals(pq.read_table(work / "set.parquet"))
    print(
        f"retrieve {slow.rows} reviews, Feast's default store (dask): {slow.seconds:.2f} s, "
        f"ratio {slow.seconds / seconds:.0f}, same result: {same}"
    )


def bench_scale(prepared, times):
    rows = pq.ParquetFile(prepared).metadata.num_rows
    for step in ("build", "build again", "retrieve"):
        wall, cpu, base, peak = in_own_process(__file__, "--step", step, "--data", prepared)
        print(
            f"{step} at {times}x ({rows} reviews): {wall:.1f} s after imports (CPU {cpu:.1f} s), "
            f"peak memory {peak:.0f} MiB, of it imports {base:.0f} MiB"
        )


def measure_step(step, prepared):
    from components.features.publish import build_features
    from components.features.retrieve import retrieve_training_set
    from components.shared.machine.feature_store import open_store

    def build():
        paths = folder / "f", folder / "s"
        summary = build_features(prepared, "minilm", MAX_TOKENS, "scale", *paths)
        service.write_text(summary.feature_service)

    def retrieve():
        retrieve_training_set(prepared, service.read_text(), folder / "t")

    open_store()
    folder, service, base = prepared.parent, prepared.parent / "service", memory_mib()
    seconds = timed(retrieve if step == "retrieve" else build)
    print(json.dumps([*seconds, base, memory_mib()]))


if __name__ == "__main__":
    main()
