"""The command line of fine-tuning, for a person, a TrainJob and a Katib trial alike.

Prints `<time> name=value` lines on stdout, one per metric and evaluation, which Katib's collector
reads; everything else goes to stderr.
"""

import argparse
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_json
from components.training.options import TrainingOptions
from components.training.tuning.katib.metrics import print_metrics


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


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Instead of the process's own.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given: dict[str, Any] = vars(build_parser().parse_args(arguments))

    def train() -> None:
        options = TrainingOptions.from_dict(
            {
                option.name: given[option.name]
                for option in fields(TrainingOptions)
                if given[option.name] is not None
            }
        )
        facts = read_json(given["facts_file"]) if given["facts_file"] else {}
        if not isinstance(facts, dict):
            raise UserError(f"{given['facts_file']} is no JSON object; write one")
        # After the options are checked: this imports torch.
        from components.shared.machine.images import code_version
        from components.training.fine_tune import fine_tune
        from components.training.loop.distributed import is_first_rank

        try:
            result = fine_tune(
                training_set=given["training_set"],
                base_model=given["base_model"],
                options=options,
                model_folder=given["output"],
                checkpoint_folder=given["checkpoints"],
                facts={"code_version": code_version(), **facts},
                on_metrics=print_metrics,
            )
        except ConnectionError as error:
            # The cause is told by the process that ended; not the user's mistake, so not code 2.
            logging.getLogger(__name__).error("error: %s", error)
            raise SystemExit(1) from None
        if not is_first_rank():
            return
        print_metrics(
            {
                "macro_f1": result.macro_f1,
                "accuracy": result.accuracy,
                "validation_loss": result.validation_loss,
            }
        )
        logging.getLogger(__name__).info(
            "wrote %s (%.1f reviews/s)", result.model_folder, result.speed["samples_per_second"]
        )

    exit_in_words(train)


if __name__ == "__main__":
    main()
