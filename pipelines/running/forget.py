"""Command line: delete a review everywhere, see that it is gone, and keep logs no longer than said.

A review is named by its id, as the data have it or as ingest made it: `make sql` finds it by words.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from components.data.catalogue import describe_again
from components.personal_data.forget import Service, Stores, forget, left_of
from components.personal_data.online_store import online_store
from components.personal_data.retention import delete_old_days
from components.review.label_studio.client import URL, connect
from components.review.label_studio.process import is_up
from components.shared.machine.errors import UserError, exit_in_words
from pipelines.running.environment import local_environment

ELSEWHERE = ("FEATURE_STORE_DIR", "CATALOGUE_WAREHOUSE", "CHECKPOINT_DIR", "REVIEW_DIR")
"""Variables that may name folders outside the state folder."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Delete, look for, or retain."""
    exit_in_words(lambda: _forget(arguments))


def _forget(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.forget", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--review-id", help="the review to delete")
    parser.add_argument("--verify", action="store_true", help="delete nothing, say where it is")
    about = "with --verify: a part of its text, of 12 letters or more, to look for as well"
    parser.add_argument("--text", default="", help=about)
    about = "delete the days of a payload log that are older; needs --payloads"
    parser.add_argument("--retain-days", type=int, help=about)
    parser.add_argument("--payloads", default="", help="folder or URI of a payload log")
    parser.add_argument("--state", type=Path, default=Path("state"), help="state folder")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    about = "another folder to walk through, such as one of scores; may be given several times"
    parser.add_argument("--also", type=Path, action="append", default=[], help=about)
    options = parser.parse_args(arguments)
    os.environ |= local_environment(options.state)
    if (options.review_id is None) == (options.retain_days is None):
        raise UserError("say what is to go: --review-id ID, or --retain-days DAYS --payloads URI")
    if options.retain_days is not None:
        if not options.payloads:
            raise UserError("say which log: --payloads with the URI that its server writes to")
        days = delete_old_days(options.payloads, options.retain_days)
        print(f"deleted {len(days)} days" + (f", {days[0]} to {days[-1]}" if days else ""))
        return
    stores = _stores(options)
    if options.verify:
        _verify(options.review_id, options.text, stores)
        return
    done = forget(options.review_id, stores)
    for store, rows in sorted(done.removed.items()):
        print(f"  {rows:6} from {store}")
    was = f"it was forgotten on {done.before}; " if done.before else ""
    total = sum(done.removed.values())
    print(was + (f"deleted in {total} places" if total else "nothing more was found"))
    print("ingest and prepare leave it out from now on")
    if done.models:
        print("these models learned from it; only a retraining leaves it out:")
        for folder in done.models:
            print(f"  {folder}")


def _verify(review_id: str, text: str, stores: Stores) -> None:
    places = left_of(review_id, stores, text)
    if places:
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        raise UserError(f"the review is in {', '.join(places[:5])}{more}; forget it (again)")
    print(f"nothing of it is in {', '.join(map(str, stores.roots))}")


def _stores(options: argparse.Namespace) -> Stores:
    folders = [options.state, options.runs, *options.also]
    for folder in options.also:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; give one that is there with --also")
    folders += [Path(os.environ[name]) for name in ELSEWHERE if os.environ.get(name)]
    if options.payloads:
        folders.append(Path(options.payloads))
    roots = []
    for folder in folders:
        inside = any(folder.resolve().is_relative_to(root.resolve()) for root in roots)
        if folder.is_dir() and not inside:
            roots.append(folder)
    services: list[Service] = [one for one in (online_store(), _review(options.state)) if one]
    return Stores(options.state, roots, services, (describe_again,))


class _Review:
    """The review service."""

    name = "Label Studio"

    def __init__(self, state: Path) -> None:
        self._client = connect(state)

    def count(self, ids: frozenset[str]) -> int:
        """How many items are of the review."""
        return self._client.count(ids)

    def delete(self, ids: frozenset[str]) -> int:
        """Delete them with their votes."""
        return self._client.delete(ids)


def _review(state: Path) -> _Review | None:
    """The review service of the environment, or of this machine where it is running."""
    if os.environ.get(URL) or ((state / "review" / "label_studio").is_dir() and is_up(state)):
        return _Review(state)
    return None  # What the database of one that does not run holds is found there, and said.


if __name__ == "__main__":
    main()
