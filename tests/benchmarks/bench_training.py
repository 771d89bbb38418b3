"""Training speed beside the plain way: Hugging Face's Trainer as it comes.

That is 8 reviews per step, fp32, every review padded to 128 tokens. Both train the packaged encoder
on the same rows, turn by turn. Set-up and each side's first turn, in which kernels are chosen and
memory is first touched, do not count.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from flops import TrainingWork, matmul_rate  # beside this file
from timing import in_turns, machine, medians

from components.shared.machine.base_model import MINILM, resolve_base_model
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.reviews import PREPARED_SCHEMA, TRAINING_SET_SCHEMA
from components.shared.records.text import model_text
from components.training.loop.data import read_training_set
from components.training.loop.measures import SpeedMeter
from components.training.loop.run import TrainingRun
from components.training.options import TrainingOptions

PADDED_TO = 128
PLAIN_STEPS_PER_TURN = 12
OUR_STEPS_PER_TURN = 12
BAR, AIM, SHARE_BAR = 5.0, 8.0, 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sample", help="URI of reviews, or a training set's path")
    parser.add_argument("--turns", type=int, default=7, help="turns that count (default: 7)")
    arguments = parser.parse_args()
    if find_spec("accelerate") is None:
        raise UserError("the plain Trainer needs the package accelerate; install it with pip")
    with tempfile.TemporaryDirectory() as folder:
        training, validation = load(arguments.data, Path(folder))
        compare_speed(training, validation, arguments.turns, Path(folder))


def load(data, work):
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
    made = {
        "input_ids": tokens,
        "n_tokens": tokens.value_lengths(),
        "weight": pa.array(np.ones(len(texts))),
    }
    names = TRAINING_SET_SCHEMA.names
    table = pa.table({name: made[name] if name in made else rows[name] for name in names})
    write_parquet(work / "training_set.parquet", table.cast(TRAINING_SET_SCHEMA))
    return read_training_set(work / "training_set.parquet")


def compare_speed(training, validation, turns, work):
    run = TrainingRun(training, validation, MINILM, TrainingOptions())
    without = TrainingRun(
        training, validation, MINILM, TrainingOptions(token_dropout=0.0, frozen_share=0.0)
    )
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
    rates = []
    for turn, found in enumerate(in_turns(ways, turns + 1)):
        if turn:
            rates.append(matmul_rate(run.learner.precision, run.ranks.device))
            speeds = ", ".join(f"{name} {found[name][-1]['samples']:.1f}/s" for name in ways)
            print(f"turn {turn}: {speeds}, matrix rate {rates[-1] / 1e9:.0f} GFLOP/s", flush=True)
    rate, middle = statistics.median(rates), medians(found, warm=1)
    titles = {
        "plain": "Trainer as it comes (fp32, padded to 128)",
        "ours": "ours, default options",
        "full": "ours, nothing frozen but embeddings, no token dropout",
    }
    for name, title in titles.items():
        samples, flops = middle[name]["samples"], middle[name].get("flops")
        line = f"{title}: {samples:.1f} samples/s, {samples / middle['plain']['samples']:.2f}x"
        if flops:
            line += f", {flops / 1e9:.0f} GFLOP/s executed on real tokens = {flops / rate:.0%} of "
            line += f"the {run.learner.precision} matrix rate ({rate / 1e9:.0f} GFLOP/s)"
        print(line)
    print(f"bars: {BAR:.0f}x (aim {AIM:.0f}x), {SHARE_BAR:.0%} of the matrix rate")


def our_turn(run, turn):
    work = TrainingWork(run.learner.network.classifier, run.learner.working.first_token_only)
    meter = run.meter = CountingMeter(work)
    batches = run.batches(turn)
    for index in range(OUR_STEPS_PER_TURN):
        run.train_step(batches[index % len(batches)])
        run.step += 1
    return {"samples": meter.samples_per_second, "flops": meter.flops / meter.totals["seconds"]}


class CountingMeter(SpeedMeter):
    def __init__(self, work):
        super().__init__()
        self.work, self.flops = work, 0.0

    def add(self, lengths, seconds):
        super().add(lengths, seconds)
        self.flops += self.work.flops(lengths)


def plain_trainer(rows, work):
    """Hugging Face's Trainer with its defaults on rows padded to 128 tokens."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    classifier = transformers.AutoModelForSequenceClassification
    model = classifier.from_pretrained(resolve_base_model(MINILM), num_labels=3)
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}
    # Without a GPU pinning memory does nothing but warn.
    quiet |= {"output_dir": str(work / "trainer"), "dataloader_pin_memory": False}
    arguments = transformers.TrainingArguments(num_train_epochs=1, **quiet)
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def padded_rows(reviews):
    """Rows as the Trainer takes them, each padded to 128 tokens: a `datasets.Dataset`."""
    from datasets import Dataset

    mask = np.arange(PADDED_TO) < np.minimum(reviews.lengths, PADDED_TO)[:, None]
    tokens = np.zeros(mask.shape, np.int64)
    tokens[mask] = np.concatenate([reviews.row(i)[:PADDED_TO] for i in range(len(reviews))])
    columns = {
        "input_ids": tokens,
        "attention_mask": mask.astype(np.int64),
        "labels": reviews.classes,
    }
    return Dataset.from_dict(columns).with_format("torch")


def plain_turn(trainer, rows, turn):
    """Some steps of the Trainer on some of the rows: samples per second, its own figure."""
    count = min(trainer.args.per_device_train_batch_size * PLAIN_STEPS_PER_TURN, len(rows))
    trainer.train_dataset = rows.select(np.random.default_rng(turn).permutation(len(rows))[:count])
    begun = time.perf_counter()
    done = trainer.train()
    seconds = min(time.perf_counter() - begun, float(done.metrics["train_runtime"]))
    return {"samples": count / seconds}


if __name__ == "__main__":
    exit_in_words(main)
