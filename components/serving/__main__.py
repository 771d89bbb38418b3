"""Serve a model folder: `python -m components.serving --model-dir DIR`."""

import argparse
import os
import warnings
from dataclasses import fields

from components.serving.options import Endpoint, LogOptions, ModelOptions, QueueLimits
from components.shared.machine.errors import exit_in_words


def main() -> None:
    """Parse the command line and serve until a signal ends the process."""
    parser = argparse.ArgumentParser(
        prog="python -m components.serving", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--model-dir", required=True, help="folder that training wrote")
    kinds = (ModelOptions, Endpoint, QueueLimits, LogOptions)
    for kind in kinds:
        group = parser.add_argument_group(kind.__doc__)
        for option in fields(kind):
            flag = f"--{option.name.replace('_', '-')}"
            about = option.metadata["about"]
            if option.type is bool and option.default:
                switch = argparse.BooleanOptionalAction
                group.add_argument(flag, action=switch, default=True, help=about)
            elif option.type is bool:
                group.add_argument(flag, action="store_true", help=about)
            else:
                shown = f"{about} (default: {option.default})" if option.default != "" else about
                group.add_argument(flag, default=option.default, help=shown)
    for name in ("model_version", "model_digest", "signature_key"):
        parser.set_defaults(**{name: os.environ.get(name.upper(), "")})
    given = vars(parser.parse_args())
    model, endpoint, limits, logs = (
        kind.from_dict({option.name: given[option.name] for option in fields(kind)})
        for kind in kinds
    )
    # KServe and its parts warn of one another's deprecations; nobody here can act on that.
    warnings.simplefilter("ignore")

    from components.serving.server.server import serve

    serve(given["model_dir"], model, endpoint, limits, logs)


if __name__ == "__main__":
    exit_in_words(main)
