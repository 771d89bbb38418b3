"""Command line of the features room: look reviews up, list services, migrate a former store."""

import argparse
import json
import logging

from components.shared.machine.errors import UserError, exit_in_words


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, by default with the process's own arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m components.features", description="Look into the feature store."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    lookup = commands.add_parser("lookup", help="print the online features of reviews as JSON")
    lookup.add_argument("review_id", nargs="+", help="ids of reviews")
    lookup.add_argument(
        "--feature-service", help="name of a feature service (default: the newest tokenizer's)"
    )
    commands.add_parser("services", help="list the feature services, the newest last")
    commands.add_parser(
        "migrate", help="move features whose views' names end in a hash of the data into the views"
    )
    options = parser.parse_args(arguments)
    if options.command == "lookup":
        exit_in_words(lambda: _lookup(options))
    else:
        exit_in_words({"services": _services, "migrate": _migrate}[options.command])


def _lookup(options: argparse.Namespace) -> None:
    """Print one JSON object per review."""
    from components.shared.machine.feature_store import open_existing_store
    from components.shared.machine.online_features import latest_feature_service, online_features

    store = open_existing_store()
    service = options.feature_service or latest_feature_service(store)
    for review_id, features in zip(
        options.review_id, online_features(options.review_id, service, store), strict=True
    ):
        if features is None:
            raise UserError(
                f"review {review_id} is not in the online store under {service}; "
                "check the id or name another --feature-service"
            )
        print(json.dumps({"feature_service": service} | features, ensure_ascii=False))


def _services() -> None:
    """Print name and lineage of each feature service."""
    from components.shared.machine.feature_store import open_existing_store

    services = open_existing_store().list_feature_services()
    for service in sorted(services, key=lambda one: (one.created_timestamp, one.name)):
        lineage = " ".join(f"{name}={value}" for name, value in sorted(service.tags.items()))
        print(f"{service.name}  {lineage}")


def _migrate() -> None:
    """Say which versions were moved."""
    from components.features.migrate import migrate

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    moved = migrate()
    print(f"moved {', '.join(moved)}" if moved else "there is nothing to move")


if __name__ == "__main__":
    main()
