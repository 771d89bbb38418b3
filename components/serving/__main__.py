"""Serve a model folder: `python -m components.serving --model-dir DIR`."""

import argparse
import os
import warnings
from pathlib import Path

from components.shared.machine.errors import exit_in_words


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
    parser.add_argument(
        "--engine",
        default="auto",
        help="auto (the fastest that agrees with torch), torch, or one of the folder's engines",
    )
    listening = parser.add_argument_group("listening")
    listening.add_argument("--host", default="127.0.0.1", help="address (default: this machine)")
    listening.add_argument("--http-port", type=int, default=8080, help="0 takes a free port")
    listening.add_argument("--grpc-port", type=int, default=0, help="0 leaves gRPC off (default)")
    listening.add_argument("--port-file", type=Path, help="file that gets the port once ready")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--batch-reviews", type=int, default=4, help="most reviews in a forward pass (default: 4)"
    )
    limits.add_argument(
        "--max-queued-reviews", type=int, default=1024, help="reviews that may wait (default: 1024)"
    )
    limits.add_argument(
        "--max-wait-seconds",
        type=float,
        default=2.0,
        help="requests that would wait longer are refused with 503 (default: 2)",
    )
    limits.add_argument(
        "--max-body-bytes", type=int, default=8 * 2**20, help="largest request (default: 8 MiB)"
    )
    limits.add_argument(
        "--drain-seconds",
        type=int,
        default=30,
        help="time for accepted requests after SIGTERM (default: 30)",
    )
    watching = parser.add_argument_group("logs and features")
    watching.add_argument(
        "--payload-log", default="", help="folder or URI that gets every answer as Parquet"
    )
    watching.add_argument(
        "--keep-texts", action="store_true", help="write the texts of the reviews to the logs"
    )
    watching.add_argument(
        "--no-access-log", action="store_true", help="write no line for each request"
    )
    watching.add_argument(
        "--features",
        action="store_true",
        help="answer by review_id too, from the feature store that the environment names",
    )
    arguments = parser.parse_args()
    # KServe and its parts warn of one another's deprecations; nobody here can act on that.
    warnings.simplefilter("ignore")

    from components.serving.server.sentiment_model import ServingOptions
    from components.serving.server.server import Endpoint, serve

    serve(
        arguments.model_dir,
        model_name=arguments.model_name,
        model_version=arguments.model_version,
        endpoint=Endpoint(
            host=arguments.host,
            http_port=arguments.http_port,
            grpc_port=arguments.grpc_port,
            port_file=arguments.port_file,
            max_body_bytes=arguments.max_body_bytes,
            drain_seconds=arguments.drain_seconds,
        ),
        options=ServingOptions(
            engine=arguments.engine,
            batch_reviews=arguments.batch_reviews,
            max_queued_reviews=arguments.max_queued_reviews,
            max_wait_seconds=arguments.max_wait_seconds,
            features=arguments.features,
        ),
        payload_uri=arguments.payload_log,
        keep_texts=arguments.keep_texts,
        log_requests=not arguments.no_access_log,
    )


if __name__ == "__main__":
    exit_in_words(main)
