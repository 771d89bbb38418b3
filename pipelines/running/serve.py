"""Command line: serve the champion of this machine's registry with a KServe model server."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.commands import make_command
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.ports import free_port, port_number
from pipelines.running.environment import check_databases, local_environment


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the champion, say how to ask it, become its server."""
    exit_in_words(lambda: _serve(arguments))


def _serve(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.serve", description=__doc__)
    parser.add_argument("--model-name", default="review-sentiment", help="name in the registry")
    port = "HTTP port; 0 takes a free one (default: 8080)"
    parser.add_argument("--port", type=port_number, default=8080, help=port)
    host = "address to listen on; 127.0.0.1 is this machine only (default: %(default)s)"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--state", type=Path, default=Path("state"), help="the runs' state folder")
    parser.epilog = "Further options go to the server; see python -m components.serving --help."
    options, of_server = parser.parse_known_args(arguments)
    os.environ |= local_environment(options.state)
    check_databases(options.state)
    port = free_port(options.host, options.port)

    from components.registry.versions import fetch_champion

    folder = options.state.resolve() / "served" / options.model_name
    version = fetch_champion(options.model_name, folder)
    if not version:
        train = make_command("run", options.model_name)
        raise UserError(f"no version of {options.model_name} is champion; `{train}` trains one")
    page = "" if "--no-page" in of_server else f"on http://localhost:{port}/, or "
    url = f"http://localhost:{port}/v1/models/{options.model_name}:predict"
    print(
        f"serving {options.model_name} version {version}; ask it {page}with\n\n"
        f"  curl {url} -H 'content-type: application/json' \\\n"
        '    -d \'{"instances": ["Runs small, and the fabric itches. Sent it back."]}\'\n',
        flush=True,
    )
    command = ["-m", "components.serving", "--model-dir", str(folder)]
    command += ["--model-name", options.model_name, "--model-version", version]
    command += ["--host", options.host, "--http-port", str(port), *of_server]
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606 - arguments are our own


if __name__ == "__main__":
    main()
