"""Look at what is registered: `python -m components.registry list`, `show` or `verify VERSION`."""

import argparse
import os
import time

from components.shared.machine.errors import UserError, exit_in_words


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(prog="python -m components.registry", description=__doc__)
    parser.add_argument(
        "--model-name",
        default=os.environ.get("MODEL_NAME", "review-sentiment"),
        help="registered model (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all versions, newest first")
    show = commands.add_parser("show", help="one version with its lineage")
    show.add_argument("version", help="a number, or champion, challenger or previous")
    commands.add_parser("champion", help="the version that serves")
    verify = commands.add_parser("verify", help="whether a version is still what was registered")
    verify.add_argument("version", help="a number, or champion, challenger or previous")
    verify.add_argument("--key", default="", help="public key (PEM) of whoever must have signed it")
    arguments = parser.parse_args()
    if arguments.command == "list":
        print(versions_table(arguments.model_name))
    elif arguments.command == "verify":
        from components.registry.verification import verify_version

        print(verify_version(arguments.model_name, arguments.version, arguments.key))
    else:
        print(version_sheet(arguments.model_name, getattr(arguments, "version", "champion")))


def versions_table(model_name: str) -> str:
    """All versions of a model as a table."""
    from tabulate import tabulate

    from components.registry.versions import list_versions

    versions = list_versions(model_name)
    if not versions:
        return f"{model_name} has no versions yet; run the training pipeline"
    rows = [
        {
            "version": version.version,
            "alias": ", ".join(version.aliases),
            "approval": version.tags.get("approval"),
            "accuracy": version.tags.get("accuracy"),
            "macro-F1": version.tags.get("macro_f1"),
            "registered": _minute(version.created),
            "data": version.tags.get("data_fingerprint", "")[:12],
            "run": version.tags.get("pipeline_run"),
        }
        for version in versions
    ]
    return tabulate(rows, headers="keys", tablefmt="plain", disable_numparse=True)


def version_sheet(model_name: str, version: str) -> str:
    """One version with all its facts, one per line."""
    from tabulate import tabulate

    from components.registry.versions import CHAMPION, list_versions, show_version

    if version == CHAMPION and not any(CHAMPION in v.aliases for v in list_versions(model_name)):
        raise UserError(
            f"{model_name} has no champion yet; run the training pipeline, and approve a version "
            "if one waits"
        )
    shown = show_version(model_name, version)
    facts = {
        "version": shown.version,
        "alias": ", ".join(shown.aliases) or "none",
        "registered": _minute(shown.created),
        "mlflow run": shown.run_id,
        **dict(sorted(shown.tags.items())),
    }
    return f"{model_name}\n" + tabulate(facts.items(), tablefmt="plain", disable_numparse=True)


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


if __name__ == "__main__":
    exit_in_words(main)
