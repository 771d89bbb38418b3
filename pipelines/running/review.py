"""Command line: have people review what the model answered, with Label Studio on this machine."""

import argparse
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from components.review.label_studio.client import connect
from components.review.label_studio.process import ADMINISTRATOR, PORT, Service, label_studio
from components.shared.machine.errors import exit_in_words
from components.shared.machine.ports import port_number
from components.shared.machine.signals import on_sigterm
from components.shared.records.labels import LabelSet
from pipelines.running.environment import local_environment


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the service, or ask it something."""
    exit_in_words(lambda: _review(arguments))


def _review(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.review", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run Label Studio until stopped (Ctrl+C)")
    about = f"of this machine; 0 takes a free one (default: {PORT})"
    serve.add_argument("--port", type=port_number, default=PORT, help=about)
    serve.set_defaults(run=_serve)
    invite = commands.add_parser("invite", help="print the link by which reviewers sign up")
    invite.set_defaults(run=_invite)
    for command in (serve, invite):
        command.add_argument("--state", type=Path, default=Path("state"), help="the state folder")
        about = "classes of the model, as in a run (default: negative, neutral, positive)"
        command.add_argument(
            "--labels", type=LabelSet.parse, default=LabelSet.parse(""), help=about
        )
        about = "people who see each review (default: 3)"
        command.add_argument("--people", type=int, default=3, help=about)
    options = parser.parse_args(arguments)
    os.environ |= local_environment(options.state)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    options.run(options)


def _serve(options: argparse.Namespace) -> None:
    stop = threading.Event()
    with on_sigterm(stop.set):
        print("starting Label Studio; the first start takes a minute", flush=True)
        with label_studio(options.state, options.port) as service:
            _say_how(service, options)
            while service.is_running() and not stop.wait(1):
                pass


def _say_how(service: Service, options: argparse.Namespace) -> None:
    client = connect(options.state)
    client.wait()
    project = client.ensure_project(options.labels, options.people)
    print(
        f"Label Studio answers at {service.url}/, and holds {len(client.tasks(project))} "
        "reviews to look at.\n\n"
        f"  reviewers make an account once, at {client.invite_link()}\n"
        f"  and then sign in at {service.url}/ with their e-mail address and password;\n"
        f"  you look after it as {ADMINISTRATOR}, with the password in {service.password_file}\n\n"
        "Stop it with Ctrl+C; accounts, reviews and votes stay.",
        flush=True,
    )


def _invite(options: argparse.Namespace) -> None:
    print(connect(options.state).invite_link())


if __name__ == "__main__":
    main()
