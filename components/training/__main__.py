"""The command line of fine-tuning, for a person, a TrainJob and a Katib trial alike.

Prints `<time> name=value` lines on stdout, one per metric and evaluation, which Katib's collector
reads; everything else goes to stderr.
"""

import argparse
import logging
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_json
from components.training.options import TrainingOptions

METRICS: tuple[str, ...] = ("macro_f1", "accuracy", "validation_loss", "train_loss")
"""Names of the metrics, in the order in which they are printed."""


def build_parser() -> argparse.ArgumentParser:
    """The arguments; each training option is one, with its default and bounds in the help."""
    parser = argparse.ArgumentParser(
        prog="python -m components.training",
        description="Fine-tune a sentiment classifier on tokenised reviews and write its model "
        "folder. A run that was killed goes on where it was if it is started again with the same "
        "arguments and a checkpoint folder. Started by torchrun, its processes train one model.",
    )
    parser.add_argument(
        "--training-set", required=True, type=Path, help="Parquet file that the features step wrote"
    )
    parser.add_argument(
        "--base-model",
        default="minilm",
        help="minilm (packaged), a folder, or a hub id (default: %(default)s)",
    )
    parser.add_argument("--output", required=True, type=Path, help="model folder to write")
    parser.add_argument(
        "--checkpoints", type=Path, help="folder for the checkpoint; none is kept without it"
    )
    parser.add_argument(
        "--facts-file",
        type=Path,
        help="JSON object that the model folder keeps about data and code: data_fingerprint, "
        "feature_service, max_tokens, ...",
    )
    options = parser.add_argument_group("training options")
    for option in fields(TrainingOptions):
        limits = option.metadata
        bounds = ""
        if limits["low"] is not None:
            bounds = f", from {limits['low']:g} to {limits['high']:g}"
        options.add_argument(
            f"--{option.name.replace('_', '-')}",
            metavar="|".join(limits["choices"]) or option.type.__name__.upper(),
            help=f"{limits['about'].replace('%', '%%')} (default: {option.default}{bounds})",
        )
    return parser


def print_metrics(metrics: Mapping[str, float]) -> None:
    """Print an evaluation's `METRICS`, a line for each: `2026-11-21T12:00:00.000000Z accuracy=0.8`.

    The time, to the microsecond, is what Katib orders the values of a metric by, and `latest` and
    the median rule go by that order: without it all of them would have the same time. What is not
    finite is left out: Katib's expression reads `nan` as an empty text, and its collector ends
    when it cannot make a number of that. Source: Katib 0.19,
    pkg/metricscollector/v1beta1/file-metricscollector and pkg/db/v1beta1.
    """
    time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    for name in METRICS:
        if name in metrics and math.isfinite(metrics[name]):
            print(f"{time} {name}={metrics[name]:.6f}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or the process's own."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = vars(build_parser().parse_args(arguments))
    exit_in_words(lambda: _train(given))


def _train(given: Mapping[str, Any]) -> None:
    names = [option.name for option in fields(TrainingOptions)]
    options = TrainingOptions.from_dict({n: given[n] for n in names if given[n] is not None})
    facts = read_json(given["facts_file"]) if given["facts_file"] else {}
    if not isinstance(facts, dict):
        raise UserError(f"{given['facts_file']} is not a JSON object; write one")
    # After the options are checked: this imports torch.
    from components.shared.machine.images import code_version
    from components.training.fine_tune import fine_tune

    try:
        fine_tune(
            given["training_set"],
            given["base_model"],
            options,
            given["output"],
            given["checkpoints"],
            facts={"code_version": code_version(), **facts},
            on_metrics=print_metrics,
        )
    except ConnectionError as error:
        # The process that ended says why; this is not the user's mistake, so not code 2.
        logging.getLogger(__name__).error("error: %s", error)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
