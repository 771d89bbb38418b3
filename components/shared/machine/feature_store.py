"""The one place where the feature store is configured and opened.

Two environment variables decide: `FEATURE_STORE_CONFIG` names the `feature_store.yaml` (default:
the embedded one of `feature_repo`), `FEATURE_STORE_DIR` the folder of the Parquet files and, when
embedded, of the databases (default: `state/features` in the working directory).
"""

import atexit
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.databases import check_database
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from feast import FeatureStore

CONFIG_VARIABLE = "FEATURE_STORE_CONFIG"
DIR_VARIABLE = "FEATURE_STORE_DIR"

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
# What databases say when another process made the same table or row a moment earlier, or is
# writing just now: worth another attempt, unlike a wrong password.
_PASSING_CONFLICT = re.compile(
    r"already exists|duplicate key|UNIQUE constraint|database is locked|deadlock"
    r"|could not serialize|concurrent appl",
    re.IGNORECASE,
)


def store_dir() -> Path:
    """Absolute folder of the store's state."""
    return Path(os.environ.get(DIR_VARIABLE) or "state/features").expanduser().resolve()


def data_dir() -> Path:
    """Absolute folder of the views' folders, each of immutable Parquet files."""
    return store_dir() / "data"


def training_sets_dir() -> Path:
    """Absolute folder of the spines of training sets: their reviews, splits and labels."""
    return store_dir() / "training_sets"


def store_config() -> Path:
    """Absolute path of the `feature_store.yaml` in use; `UserError` if there is no such file."""
    import feature_repo

    ours = Path(feature_repo.__path__[0]) / "feature_store.yaml"
    config = Path(os.environ.get(CONFIG_VARIABLE) or ours).expanduser().resolve()
    if not config.is_file():
        why = f"feature store configuration {config} does not exist"
        raise UserError(f"{why}; set {CONFIG_VARIABLE}")
    return config


def open_store() -> "FeatureStore":
    """Open the feature store; its registry is created if it does not exist.

    Raises:
        UserError: If the configuration is missing, names an unset environment variable, or the
            registry cannot be reached.
    """
    config = store_config()
    folder = store_dir()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[DIR_VARIABLE] = str(folder)  # Feast expands ${FEATURE_STORE_DIR} from here
    used = _VARIABLE.findall(_COMMENT.sub("", config.read_text(encoding="utf-8")))
    unset = sorted({name for name in used if name not in os.environ})
    if unset:
        why = f"{config} uses {', '.join(unset)}, which the environment does not set"
        raise UserError(f"{why}; set {'them' if len(unset) > 1 else 'it'}")
    from feast import FeatureStore
    from sqlalchemy.exc import SQLAlchemyError

    _keep_quiet()
    for database in ("registry.db", "online.db"):  # those of the embedded store
        check_database(folder / database)

    try:
        for attempt in _attempts():
            with attempt:
                store = FeatureStore(fs_yaml_file=config)
                _ = store.registry  # connects, and creates the tables where they are missing
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"the registry of the feature store in {config} cannot be opened ({reason}); "
            f"check its address and {DIR_VARIABLE}"
        ) from None
    return store


def open_existing_store() -> "FeatureStore":
    """Open the feature store to read it; `UserError` also if nothing was published there yet."""
    if not data_dir().is_dir():
        why = f"there is no feature store in {store_dir()}"
        raise UserError(f"{why}; run the pipeline first or set {DIR_VARIABLE}")
    return open_store()


def apply_objects(store: "FeatureStore", objects: list) -> None:
    """Register Feast objects beside what is there; nothing else is changed or deleted."""
    for attempt in _attempts():
        with attempt:
            store.apply(objects, partial=True)


def _keep_quiet() -> None:
    """Keep the libraries' notes to their developers out of the user's terminal."""
    logging.getLogger("feast").setLevel(logging.WARNING)
    # ibis 12 calls a method that DuckDB 2 renamed.
    warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
    atexit.unregister(_close_duckdb)
    atexit.register(_close_duckdb)


def _close_duckdb() -> None:
    """Let go of ibis's connection: with torch loaded too, DuckDB would print a page about leaks."""
    if "ibis" in sys.modules:
        sys.modules["ibis"].options.default_backend = None


def _attempts() -> Iterator:
    """Attempts at something that a concurrent process may have got in the way of."""
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    return iter(
        Retrying(
            retry=retry_if_exception(lambda error: bool(_PASSING_CONFLICT.search(str(error)))),
            stop=stop_after_delay(60),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            reraise=True,
        )
    )
