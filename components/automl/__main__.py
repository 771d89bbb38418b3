"""Make one candidate's model again: `python -m components.automl --candidate linear …`."""

import argparse
import logging
import math
from pathlib import Path

from components.shared.machine.errors import UserError, exit_in_words


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    exit_in_words(lambda: _train(arguments))


def _train(arguments: list[str] | None) -> None:
    from components.automl.candidates import all_candidates
    from components.automl.task import read_task

    candidates = all_candidates()
    parser = argparse.ArgumentParser(prog="python -m components.automl", description=__doc__)
    parser.add_argument("--candidate", required=True, choices=candidates)
    parser.add_argument("--prepared", required=True, type=Path, help="what prepare_reviews wrote")
    parser.add_argument(
        "--training-set", required=True, type=Path, help="what retrieve_training_set wrote"
    )
    parser.add_argument("--base-model", default="minilm", help="minilm, a folder, or a hub id")
    parser.add_argument("--max-tokens", type=int, default=160, help="where an encoder cuts a text")
    parser.add_argument("--parameters", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", required=True, type=Path, help="model folder to write")
    given = parser.parse_args(arguments)
    candidate = candidates[given.candidate]
    parameters = dict(candidate.first)
    for text in given.parameters:
        name, equals, value = text.partition("=")
        if not equals or name not in parameters:
            known = ", ".join(parameters) or "none"
            raise UserError(f"{given.candidate} has no parameter {text!r}; it has {known}")
        parameters[name] = type(parameters[name])(value)
    task = read_task(
        given.prepared, given.training_set, given.base_model, {"max_tokens": given.max_tokens}
    )
    candidate.fit(task, parameters, given.seed, math.inf, given.output)
    print(given.output)


if __name__ == "__main__":
    main()
