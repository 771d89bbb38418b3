"""Command line: read reviews' features as the champion was trained on them, from the online store.

Where no version is champion yet, by the newest tokenizer.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from components.features.__main__ import main as look_up
from components.shared.machine.errors import exit_in_words
from pipelines.running.environment import check_databases, local_environment


def main(arguments: Sequence[str] | None = None) -> None:
    """Find the champion's feature service and print one JSON object per review."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.lookup", description=__doc__)
    parser.add_argument("review_id", nargs="+", help="ids of reviews")
    parser.add_argument("--model-name", default="review-sentiment", help="name in the registry")
    parser.add_argument("--state", type=Path, default=Path("state"), help="the runs' state folder")
    options = parser.parse_args(arguments)
    exit_in_words(lambda: _lookup(options))


def _lookup(options: argparse.Namespace) -> None:
    os.environ |= local_environment(options.state)
    check_databases(options.state)
    words = ["lookup", *options.review_id]
    service = champions_feature_service(options.model_name)
    if service:
        words += ["--feature-service", service]
    look_up(words)


def champions_feature_service(model_name: str) -> str:
    """Name of the feature service that the champion was trained on; '' without a champion."""
    from components.registry.versions import CHAMPION, list_versions

    logging.getLogger().setLevel(logging.WARNING)
    for version in list_versions(model_name):
        if CHAMPION in version.aliases:
            return version.tags.get("feature_service", "")
    return ""


if __name__ == "__main__":
    main()
