"""Command line: score a file or folder of reviews with a registered version, on this machine.

Stopped or killed, the same command goes on where it was.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.errors import EXIT_CODES, UserError, exit_in_words
from pipelines.running.environment import check_databases, local_environment
from pipelines.running.explain import fetched


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the reviews, fetch the version, score, say what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.score",
        description=__doc__,
        allow_abbrev=False,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("data", help="file, folder or URI: CSV, TSV, JSON Lines or Parquet")
    add("--output", default="", help="folder for the predictions (default: predictions/NAME)")
    add("--columns", default="", help="columns that are not recognised: review_body=comment")
    add("--max-rejected-share", type=float, default=0.2, help="of rows without a text, at most")
    add("--version", default="champion", help="number or alias (default: champion)")
    add("--model-name", default="review-sentiment", help="name in the registry")
    add("--engine", default="auto", help="auto, torch, or one of the version's engines")
    add("--state", type=Path, default=Path("state"), help="the runs' state folder")
    options = parser.parse_args(arguments)
    exit_in_words(lambda: _score(options))


def _score(options: argparse.Namespace) -> None:
    os.environ |= local_environment(options.state)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("mlflow", "alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if "://" in options.output:
        raise UserError(
            f"{options.output} is an address; name a folder of this machine, and copy it there"
        )
    check_databases(options.state)
    version, model = fetched(options.model_name, options.version, options.state.resolve())

    from components.data.unlabelled import read_unlabelled
    from components.serving.batch.job import QUARANTINE, READ, own_folder
    from components.serving.batch.score import score_reviews

    data, local = options.data, Path(options.data).expanduser()
    if local.exists():
        data = str(local.resolve())
    name = local.name.partition(".")[0] or "sample"
    folder = Path(options.output or f"predictions/{name}").expanduser()
    with own_folder(folder):
        read = read_unlabelled(
            data,
            folder / READ,
            folder / QUARANTINE,
            columns=options.columns,
            max_rejected_share=options.max_rejected_share,
        )
    done = score_reviews(
        folder / READ,
        model,
        folder,
        model_name=options.model_name,
        model_version=version,
        engine=options.engine,
    )
    (folder / READ).unlink()
    shares = ", ".join(f"{name} {n / done.reviews:.1%}" for name, n in done.labels.items())
    who = f"version {version} of {options.model_name} ({done.engine})"
    speed = f" in {done.seconds:.0f} s ({done.reviews_per_second:,.0f} reviews/s)"
    print(f"\n{done.reviews:,} reviews scored by {who}{speed if done.reviews_per_second else ''}")
    print(f"  {shares}; {done.truncated:,} texts were longer than the model reads")
    if read.quarantined:
        print(f"  {read.quarantined:,} rows could not be scored: {folder / QUARANTINE}")
    print(f"  predictions: {folder}/part-*.parquet")


if __name__ == "__main__":
    main()
