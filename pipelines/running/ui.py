"""Command line: open MLflow's pages on the runs and versions of this machine."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.errors import exit_in_words
from components.shared.machine.ports import free_port, port_number
from components.shared.machine.tracking import TRACKING_URI, tracking_client
from pipelines.running.environment import check_databases, local_environment


def main(arguments: Sequence[str] | None = None) -> None:
    """Check what MLflow would fail on in a trace, then become `mlflow ui`."""
    exit_in_words(lambda: _open(arguments))


def _open(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.ui", description=__doc__)
    about = "0 takes a free one (default: 5000)"
    parser.add_argument("--port", type=port_number, default=5000, help=about)
    parser.add_argument("--state", type=Path, default=Path("state"), help="the runs' state folder")
    options = parser.parse_args(arguments)
    os.environ |= local_environment(options.state)
    check_databases(options.state)
    port = str(free_port("127.0.0.1", options.port))
    tracking_client()  # makes the database where there is none
    # `mlflow ui` reads another variable than MLflow's other commands. Job processes are not needed.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = ["-m", "mlflow", "ui", "--backend-store-uri", os.environ[TRACKING_URI]]
    os.execv(sys.executable, [sys.executable, *command, "--port", port])  # noqa: S606


if __name__ == "__main__":
    main()
