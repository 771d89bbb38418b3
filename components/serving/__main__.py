"""Serve a model folder: `python -m components.serving --model-dir DIR`."""

import argparse
import os
import warnings
from pathlib import Path

from components.contracts.errors import exit_in_words


def main() -> None:
    """Parse the command line and serve until a signal ends the process."""
    parser = argparse.ArgumentParser(
        prog="python -m components.serving", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--model-dir", required=True, type=Path, help="folder that training wrote")
    parser.add_argument("--model-name", default="review-sentiment", help="name in the URLs")
    parser.add_argument(
        "--model-version",
        default=os.environ.get("MODEL_VERSION", ""),
        help="version in the registry, told in every answer (default: $MODEL_VERSION)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    parser.add_argument("--http-port", type=int, default=8080, help="0 takes a free port")
    parser.add_argument("--port-file", type=Path, help="file that gets the port once ready")
    parser.add_argument("--grpc-port", type=int, default=0, help="0 leaves gRPC off")
    arguments = parser.parse_args()
    # KServe and its parts warn of one another's deprecations; nobody here can act on that.
    warnings.simplefilter("ignore")

    from components.serving.server import serve

    serve(
        arguments.model_dir,
        model_name=arguments.model_name,
        model_version=arguments.model_version,
        host=arguments.host,
        http_port=arguments.http_port,
        port_file=arguments.port_file,
        grpc_port=arguments.grpc_port,
    )


if __name__ == "__main__":
    exit_in_words(main)
