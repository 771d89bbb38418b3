"""Command line: have people review what the model answered, with Label Studio on this machine.

Which reviews those are, the pipeline `review` draws. `serve` sends them and collects the votes as
long as it runs; `collect` does so once, with a service that runs already, here or where
`LABEL_STUDIO_URL` says.
"""

import argparse
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from components.review.gather import Gathered, Patience, gather_votes
from components.review.label_studio.client import LabelStudio, connect
from components.review.label_studio.process import ADMINISTRATOR, PORT, Service, label_studio
from components.review.options import ReviewOptions
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import write_parquet
from components.shared.machine.ports import port_number
from components.shared.machine.pseudonyms import pseudonym_key
from components.shared.machine.signals import on_sigterm
from components.shared.machine.state import review_folder
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.review_items import read_items
from pipelines.running.environment import local_environment

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the service, or ask it something."""
    exit_in_words(lambda: _review(arguments))


def _review(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.review", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run Label Studio until stopped (Ctrl+C)")
    about = f"of this machine; 0 takes a free one (default: {PORT})"
    serve.add_argument("--port", type=port_number, default=PORT, help=about)
    about = "between two looks at what is to be sent and collected (default: 30)"
    serve.add_argument("--poll-seconds", type=float, default=30.0, help=about)
    about = "classes of the model, as in a run, where nothing is drawn yet"
    serve.add_argument("--labels", type=LabelSet.parse, default=LabelSet.parse(""), help=about)
    serve.set_defaults(run=_serve)
    about = "send the drawn reviews that wait for votes, and keep the votes in the journal"
    collect = commands.add_parser("collect", aliases=["send"], help=about)
    about = "how long to wait for votes that are missing (default: 0, looks once)"
    collect.add_argument("--wait-minutes", type=float, default=0.0, help=about)
    collect.set_defaults(run=_gather_once)
    invite = commands.add_parser("invite", help="print the link by which reviewers sign up")
    invite.set_defaults(run=lambda options: print(connect(options.state).invite_link()))
    for command in (serve, collect, invite):
        command.add_argument("--state", type=Path, default=Path("state"), help="the state folder")
    for command in (serve, collect):
        about = f"people who see each review (default: {ReviewOptions().people})"
        command.add_argument("--people", type=int, default=ReviewOptions().people, help=about)
    options = parser.parse_args(arguments)
    os.environ |= local_environment(options.state)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    options.run(options)


def _serve(options: argparse.Namespace) -> None:
    stop = threading.Event()
    with on_sigterm(stop.set):
        print("starting Label Studio; the first start takes a minute or more", flush=True)
        with label_studio(options.state, options.port) as service:
            client = connect(options.state)
            client.wait()
            _say_how(service, client, client.ensure_project(_labels(options), options.people))
            while service.is_running():
                _gather_or_log(client, options)
                if stop.wait(options.poll_seconds):
                    break


def _labels(options: argparse.Namespace) -> LabelSet:
    """The classes of what was drawn, or else those of the command line."""
    drawn = sorted((review_folder() / "items").glob("*.parquet"))
    return labels_of_file(drawn[0]) if drawn else options.labels


def _say_how(service: Service, client: LabelStudio, project: int) -> None:
    print(
        f"Label Studio answers at {service.url}/, and holds {len(client.item_ids(project))} "
        "reviews.\n\n"
        f"  reviewers make an account once, at {client.invite_link()}\n"
        f"  and then sign in at {service.url}/ with their e-mail address and password;\n"
        f"  you look after it as {ADMINISTRATOR}, with the password in {service.password_file}\n\n"
        "Drawn reviews are sent, and votes are collected, while this runs. Stop it with Ctrl+C: "
        "accounts, reviews and votes stay.",
        flush=True,
    )


def _gather_or_log(client: LabelStudio, options: argparse.Namespace) -> None:
    """Send and collect; what is wrong is said, and people can go on."""
    try:
        done = _gather(client, options.people, 0.0)
    except UserError as error:
        logger.error("%s", error)
        return
    if done and (done.sent or done.events):
        print(_told(done), flush=True)


def _gather_once(options: argparse.Namespace) -> None:
    done = _gather(connect(options.state), options.people, options.wait_minutes)
    if done is None:
        raise UserError(
            f"no reviews are drawn in {review_folder()}; `make review-labels` draws them"
        )
    print(_told(done))


def _gather(client: LabelStudio, people: int, wait_minutes: float) -> Gathered | None:
    """Send and collect; None where nothing is drawn."""
    folder = review_folder()
    drawn = sorted((folder / "items").glob("*.parquet"))
    if not drawn:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        items = Path(scratch) / "items.parquet"
        write_parquet(items, read_items(folder / "items", labels_of_file(drawn[0])))
        return gather_votes(
            client,
            items,
            folder,
            Path(scratch) / "gathered.json",
            ReviewOptions(people=people),
            pseudonym_key(),
            Patience(60 * wait_minutes),
        )


def _told(done: Gathered) -> str:
    return (
        f"{done.sent} reviews sent, {done.there_already} were there; {done.events} votes are new, "
        f"changed or gone, {done.lacking} are still missing"
    )


if __name__ == "__main__":
    main()
