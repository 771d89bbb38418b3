"""Training speed beside the plain way: `python tests/benchmarks/bench_training.py [--data FILE]`.

The plain way is Hugging Face's Trainer as it comes: 8 reviews per step, fp32, every review padded
to 128 tokens. Both train the packaged encoder on the same rows of the same data, turn by turn in
this process, so that a busy neighbour meets both; medians over the turns are compared. The
machine's own matrix rate is measured in each turn too. Set-up and each side's first turn, in which
kernels are chosen and memory is first touched, do not count.

With `--quality ROWS` both also train to the end on that many rows, and the macro-F1 on the
validation split is printed (minutes per thousand rows).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from flops import TrainingWork, matmul_rate  # beside this file
from timing import machine, timed

from components.shared.machine.base_model import MINILM, resolve_base_model
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.reviews import PREPARED_SCHEMA, TRAINING_SET_SCHEMA
from components.shared.records.text import model_text
from components.training.loop.data import TokenisedReviews, read_training_set
from components.training.loop.measures import SpeedMeter, score
from components.training.loop.run import TrainingRun
from components.training.options import TrainingOptions

PADDED_TO = 128
PLAIN_STEPS_PER_TURN = 12
OUR_STEPS_PER_TURN = 12
BAR, AIM, SHARE_BAR = 5.0, 8.0, 0.5


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sample", help="URI of reviews, or a training set's path")
    parser.add_argument("--turns", type=int, default=7, help="turns that count (default: 7)")
    parser.add_argument("--quality", type=int, default=0, metavar="ROWS", help="also compare F1")
    arguments = parser.parse_args()
    if find_spec("accelerate") is None:
        raise UserError("the plain Trainer needs the package accelerate; install it with pip")
    with tempfile.TemporaryDirectory() as folder:
        training, validation = load(arguments.data, Path(folder))
        compare_speed(training, validation, arguments.turns, Path(folder))
        if arguments.quality:
            compare_quality(first(training, arguments.quality), validation, Path(folder))


def load(data: str, work: Path) -> tuple[TokenisedReviews, TokenisedReviews]:
    """Training and validation rows of a training set, or of raw reviews taken through the steps."""
    if data.endswith(".parquet"):
        return read_training_set(data)
    from components.data.ingest import ingest
    from components.data.prepare import prepare
    from components.features.tokenise import ReviewTokenizer

    ingest(data, work / "reviews", work / "quarantine", work / "ingest.json")
    prepare(work / "reviews", work / "prepared", work / "prepare.json")
    rows = read_parquet(work / "prepared", PREPARED_SCHEMA)
    texts = list(map(model_text, rows["title"].to_pylist(), rows["review_body"].to_pylist()))
    tokens, _ = ReviewTokenizer(MINILM, PADDED_TO).encode(texts)
    made = {"input_ids": tokens, "n_tokens": tokens.value_lengths()}
    names = TRAINING_SET_SCHEMA.names
    table = pa.table({name: made[name] if name in made else rows[name] for name in names})
    write_parquet(work / "training_set.parquet", table.cast(TRAINING_SET_SCHEMA))
    return read_training_set(work / "training_set.parquet")


def first(reviews: TokenisedReviews, count: int) -> TokenisedReviews:
    """The first rows, in the order of the file."""
    starts = reviews.starts[: count + 1]
    columns = (column[:count] for column in (reviews.classes, reviews.ratings, reviews.copies))
    return TokenisedReviews(reviews.tokens[: starts[-1]], starts, *columns)


def compare_speed(
    training: TokenisedReviews, validation: TokenisedReviews, turns: int, work: Path
) -> None:
    """Take turns and print medians, ratio and share of the matrix rate."""
    run = TrainingRun(training, validation, MINILM, TrainingOptions())
    without = TrainingRun(training, validation, MINILM, plain_options())
    rows = padded_rows(training)
    plain = plain_trainer(rows, work)
    print(
        f"{machine()}; {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"{len(training)} rows, "
        f"{training.lengths.mean():.1f} tokens on average; encoder in {run.learner.precision}"
    )
    ways: dict[str, Callable[[int], dict[str, float]]] = {
        "plain": lambda turn: plain_turn(plain, rows, turn),
        "ours": lambda turn: our_turn(run, turn),
        "full": lambda turn: our_turn(without, turn),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    rates = []
    for turn in range(turns + 1):
        for name, way in ways.items():
            measured = way(turn)
            if turn:
                found[name].append(measured)
        if turn:
            rates.append(matmul_rate(run.learner.precision, run.ranks.device))
            speeds = ", ".join(f"{name} {found[name][-1]['samples']:.1f}/s" for name in ways)
            print(f"turn {turn}: {speeds}, matrix rate {rates[-1] / 1e9:.0f} GFLOP/s", flush=True)
    rate = statistics.median(rates)
    titles = {
        "plain": "Trainer as it comes (fp32, padded to 128)",
        "ours": "ours, default options",
        "full": "ours, nothing frozen but embeddings, no token dropout",
    }
    for name, title in titles.items():
        samples = statistics.median(entry["samples"] for entry in found[name])
        ratio = samples / statistics.median(entry["samples"] for entry in found["plain"])
        line = f"{title}: {samples:.1f} samples/s, {ratio:.2f}x"
        if name != "plain":
            flops = statistics.median(entry["flops"] for entry in found[name])
            line += f", {flops / 1e9:.0f} GFLOP/s executed on real tokens = {flops / rate:.0%} of "
            line += f"the {run.learner.precision} matrix rate ({rate / 1e9:.0f} GFLOP/s)"
        print(line)
    print(f"bars: {BAR:.0f}x (aim {AIM:.0f}x), {SHARE_BAR:.0%} of the matrix rate")


def our_turn(run: TrainingRun, turn: int) -> dict[str, float]:
    """Some steps of our loop: samples and FLOPs per second."""
    work = TrainingWork(run.learner.network.classifier, run.learner.working.first_token_only)
    meter = run.meter = CountingMeter(work)
    batches = run.batches(turn)
    for index in range(OUR_STEPS_PER_TURN):
        run.train_step(batches[index % len(batches)])
        run.step += 1
    return {"samples": meter.samples_per_second, "flops": meter.flops / meter.totals["seconds"]}


class CountingMeter(SpeedMeter):
    """A speed meter that counts floating-point operations too."""

    def __init__(self, work: TrainingWork) -> None:
        super().__init__()
        self.work, self.flops = work, 0.0

    def add(self, lengths: np.ndarray, seconds: float) -> None:
        super().add(lengths, seconds)
        self.flops += self.work.flops(lengths)


def plain_options() -> TrainingOptions:
    """Ours with each row's every token, and all layers trained."""
    return TrainingOptions(token_dropout=0.0, frozen_share=0.0)


def plain_trainer(rows: Any, work: Path, epochs: int = 1) -> Any:
    """Hugging Face's Trainer with its defaults on rows padded to 128 tokens."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    classifier = transformers.AutoModelForSequenceClassification
    model = classifier.from_pretrained(resolve_base_model(MINILM), num_labels=3)
    arguments = transformers.TrainingArguments(
        output_dir=str(work / "trainer"),
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        num_train_epochs=epochs,
        dataloader_pin_memory=False,  # without a GPU it does nothing but warn
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def padded_rows(reviews: TokenisedReviews) -> Any:
    """Rows as the Trainer takes them, each padded to 128 tokens: a `datasets.Dataset`."""
    from datasets import Dataset

    tokens = np.zeros((len(reviews), PADDED_TO), np.int64)
    mask = np.zeros_like(tokens)
    for index in range(len(reviews)):
        ids = reviews.row(index)[:PADDED_TO]
        tokens[index, : len(ids)] = ids
        mask[index, : len(ids)] = 1
    columns = {"input_ids": tokens, "attention_mask": mask, "labels": reviews.classes}
    return Dataset.from_dict(columns).with_format("torch")


def plain_turn(trainer: Any, rows: Any, turn: int) -> dict[str, float]:
    """Some steps of the Trainer on some of the rows: samples per second, its own figure."""
    count = min(trainer.args.per_device_train_batch_size * PLAIN_STEPS_PER_TURN, len(rows))
    trainer.train_dataset = rows.select(np.random.default_rng(turn).permutation(len(rows))[:count])
    trainer.args.num_train_epochs = 1
    begun = time.perf_counter()
    done = trainer.train()
    seconds = min(time.perf_counter() - begun, float(done.metrics["train_runtime"]))
    return {"samples": count / seconds}


def compare_quality(training: TokenisedReviews, validation: TokenisedReviews, work: Path) -> None:
    """Train both ways to the end as their defaults say, and print their scores on validation."""
    from components.shared.machine.inference import predict_logits

    rows = [validation.row(index) for index in range(len(validation))]
    trainer = plain_trainer(padded_rows(training), work, epochs=3)  # the Trainer's own number
    run = TrainingRun(training, validation, MINILM, TrainingOptions())
    (plain_seconds, _), (our_seconds, _) = timed(trainer.train), timed(run.train)
    for title, model, seconds in (
        ("Trainer as it comes", trainer.model.eval(), plain_seconds),
        ("ours", run.best_model()[0], our_seconds),
    ):
        found = score(predict_logits(model, rows), validation.classes)
        print(
            f"{title}, to the end: {seconds:.0f} s on {len(training)} rows, validation macro-F1 "
            f"{found['macro_f1']:.4f}, accuracy {found['accuracy']:.4f}, "
            f"loss {found['validation_loss']:.4f}"
        )


if __name__ == "__main__":
    exit_in_words(main)
