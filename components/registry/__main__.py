"""Look at what is registered: `python -m components.registry list | show VERSION | champion`."""

import argparse
import os
import time

from components.shared.machine.errors import UserError, exit_in_words

_NO_CHAMPION = "has no champion yet; run the training pipeline, and approve a version if one waits"


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
    arguments = parser.parse_args()

    if arguments.command == "list":
        print(versions_table(arguments.model_name))
    elif arguments.command == "show":
        print(version_sheet(arguments.model_name, arguments.version))
    else:
        print(champion_sheet(arguments.model_name))


def versions_table(model_name: str) -> str:
    """All versions of a model as a table."""
    from components.registry.versions import list_versions

    versions = list_versions(model_name)
    if not versions:
        return f"{model_name} has no versions yet; run the training pipeline"
    rows = [("version", "alias", "approval", "accuracy", "macro-F1", "registered", "data", "run")]
    rows += [
        (
            version.version,
            ", ".join(version.aliases),
            version.tags.get("approval", ""),
            version.tags.get("accuracy", ""),
            version.tags.get("macro_f1", ""),
            _minute(version.created),
            version.tags.get("data_fingerprint", "")[:12],
            version.tags.get("pipeline_run", ""),
        )
        for version in versions
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def version_sheet(model_name: str, version: str) -> str:
    """One version with all that is known of it, a line for each fact."""
    from components.registry.versions import show_version

    found = show_version(model_name, version)
    facts = {
        "version": found.version,
        "alias": ", ".join(found.aliases) or "none",
        "registered": _minute(found.created),
        "mlflow run": found.run_id,
        **dict(sorted(found.tags.items())),
    }
    width = max(map(len, facts))
    return "\n".join(
        [model_name, *(f"  {name:<{width}}  {value}" for name, value in facts.items())]
    )


def champion_sheet(model_name: str) -> str:
    """The champion's sheet.

    Raises:
        UserError: If there is no champion.
    """
    from components.registry.versions import CHAMPION, list_versions

    if not any(CHAMPION in version.aliases for version in list_versions(model_name)):
        raise UserError(f"{model_name} {_NO_CHAMPION}")
    return version_sheet(model_name, CHAMPION)


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


if __name__ == "__main__":
    exit_in_words(main)
