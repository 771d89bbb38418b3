"""Where state lies on one machine: the environment that the steps find there.

On a cluster the same variables come from the ConfigMap that `step_settings` names.
"""

import os
import subprocess
import sys
from pathlib import Path

from components.shared.machine.commands import STATE_VARIABLE
from components.shared.machine.databases import check_database
from components.shared.machine.errors import UserError, exit_in_words

PROJECT = Path(__file__).resolve().parents[2]


def code_version() -> str:
    """The commit of the checkout, with `-dirty` if files differ from it; '' outside of git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()


def local_environment(state: Path) -> dict[str, str]:
    """Variables that the steps read, for a run on one machine; those already set stay as they are.

    Args:
        state: Folder for what outlives a run: data catalogue, feature store, registry, checkpoints.
    """
    state = state.resolve()
    variables = {
        "FEATURE_STORE_CONFIG": str(PROJECT / "feature_repo" / "feature_store.yaml"),
        "FEATURE_STORE_DIR": str(state / "feature_store"),
        "CATALOGUE_URI": f"sqlite:///{state / 'warehouse' / 'catalogue.db'}",
        "CATALOGUE_WAREHOUSE": str(state / "warehouse"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{state / 'mlflow' / 'mlflow.db'}",
        "CHECKPOINT_DIR": str(state / "checkpoints"),
        "SERVING_SITE": str(state / "site"),
        "REVIEW_DIR": str(state / "review"),
        "CODE_VERSION": code_version(),
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONWARNINGS": "ignore",
        # In a terminal a progress bar is redrawn in place; in a log each drawing is a line.
        "TQDM_MININTERVAL": "0.5" if sys.stdout.isatty() else "10",
    }
    kept = {name: os.environ.get(name) or value for name, value in variables.items()}
    return kept | {STATE_VARIABLE: str(state)}


def check_databases(state: Path) -> None:
    """Raise where the state folder or a database in it cannot be used, before anything runs.

    Raises:
        UserError: Naming what is wrong, and the remedy.
        OSError: If the folder cannot be made.
    """
    state.mkdir(parents=True, exist_ok=True)
    if not os.access(state, os.W_OK):
        raise UserError(f"{state} may not be written; allow it, or name another STATE folder")
    stores = ("feature_store/registry.db", "feature_store/online.db", "warehouse/catalogue.db")
    for name in ("mlflow/mlflow.db", *stores):
        check_database(state / name)


def main() -> None:
    """Replace this process by the command on its command line, in the local environment."""
    state, *command = sys.argv[1:]
    exit_in_words(lambda: check_databases(Path(state)))
    os.execvpe(command[0], command, os.environ | local_environment(Path(state)))  # noqa: S606


if __name__ == "__main__":
    main()
