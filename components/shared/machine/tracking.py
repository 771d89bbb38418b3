"""The MLflow that the environment names: embedded on a file database, or a server."""

import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from components.shared.machine.databases import check_database
from components.shared.machine.errors import UserError
from components.shared.machine.files import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

TRACKING_URI = "MLFLOW_TRACKING_URI"
INJECTED_RUN = "MLFLOW_RUN_ID"
INJECTED_EXPERIMENT = "MLFLOW_EXPERIMENT_ID"

_LOCATIONS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "model_versions": "storage_location",
    "logged_models": "artifact_location",
}
"""Columns of MLflow's tables that hold absolute locations."""


def tracking_client() -> "MlflowClient":
    """A client of the MLflow at `MLFLOW_TRACKING_URI`, without chatter; `UserError` if unset."""
    uri = os.environ.get(TRACKING_URI, "")
    if not uri:
        raise UserError(
            f"{TRACKING_URI} is not set; point it at an MLflow server or at a file database, "
            "for example sqlite:////absolute/path/mlflow.db"
        )
    quiet_mlflow()
    from mlflow import MlflowClient

    database = embedded_database(uri)
    if database is None:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    # Of three processes that began on a new file at once, two failed: a table existed already.
    check_database(database)
    with locked(database.with_name(f"{database.name}.lock")):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        # The tables are made at first use, of the runs and of the models.
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        _follow_the_artifacts(database)
    return client


def _follow_the_artifacts(database: Path) -> None:
    """Rewrite where the artifacts lie, if they were moved or copied together with their database.

    MLflow knows absolute locations only. Those of `experiment_id` are the folder `artifacts` beside
    the database; the ids of its runs tell whether the folder that is there now is the same.
    """
    folder = database.resolve().parent / "artifacts"
    ids = [run.name for run in folder.iterdir()] if folder.is_dir() else []
    here = folder.as_uri()
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        ours = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        found = [row[0] for one in ids for row in connection.execute(ours, (one,))]
        # Without any artifact yet, by the name that the state folder gives it.
        made = connection.execute("SELECT artifact_location FROM experiments").fetchall()
        found += [f"{row[0]}//" for row in made if _is_gone(row[0])]
        before = {uri.rsplit("/", 2)[0] for uri in found} - {here}
        for table, column in _LOCATIONS.items():
            for location in before:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, len(location) + 1, location, len(location) + 1, f"{location}/"),
                )


def _is_gone(location: str) -> bool:
    """Whether a location is that of a state folder which is no longer there."""
    path = Path(url2pathname(urlsplit(location).path))
    ours = location.startswith("file:") and path.parts[-2:] == ("mlflow", "artifacts")
    return ours and not path.parent.exists()


def quiet_mlflow() -> None:
    """Switch off MLflow's chatter, and what it would send to its makers."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # importing it sets its loggers anew
    # From MLflow's own use of SQLAlchemy.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Turn what MLflow or the way to it raises into one sentence for the user."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        said = str(error).replace(os.environ.get(TRACKING_URI, ""), uri_without_secrets())
        reason = " ".join(said.split())[:300]
        if getattr(error, "get_http_status_code", int)() in (401, 403):
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user who may"
            raise UserError(
                f"MLflow at {uri_without_secrets()} refuses: {reason}; {remedy}"
            ) from error
        remedy = f"check {TRACKING_URI} and that the server runs"
        if database := embedded_database(os.environ.get(TRACKING_URI, "")):
            remedy = f"check that {database.parent} is whole, has space and may be written"
        raise UserError(
            f"MLflow at {uri_without_secrets()} answered with an error: {reason}; {remedy}"
        ) from error


def embedded_database(uri: str) -> Path | None:
    """The file of an SQLite tracking URI, or None where the URI names something else."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def uri_without_secrets() -> str:
    """The tracking URI without user name and password, for logs and files."""
    uri = os.environ.get(TRACKING_URI, "")
    parts = urlsplit(uri)
    if parts.hostname is None:
        return uri
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return parts._replace(netloc=host).geturl()


def log_in_batches(
    client: "MlflowClient",
    run_id: str,
    *,
    metrics: "Sequence[Metric]" = (),
    params: "Sequence[Param]" = (),
    tags: "Sequence[RunTag]" = (),
) -> None:
    """Log to a run in requests of the size that MLflow takes."""
    for kind, entities, most in (
        ("tags", tags, 100),
        ("params", params, 100),
        ("metrics", metrics, 1000),
    ):
        for start in range(0, len(entities), most):
            client.log_batch(run_id, **{kind: entities[start : start + most]})


def metric_key(name: str) -> str:
    """A metric's name in the characters that MLflow allows, also for a category `Tops & more`."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)


def experiment_id(client: "MlflowClient", name: str, *, injected: bool = True) -> str:
    """The experiment of this name that runs are logged in, made if it is missing.

    With an embedded database the artifacts lie in the folder `artifacts` beside it; a server says
    itself where. If `injected`, one that the backend of Kubeflow Pipelines injects comes first.
    """
    if injected and os.environ.get(INJECTED_EXPERIMENT):
        return os.environ[INJECTED_EXPERIMENT]
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    database = embedded_database(os.environ[TRACKING_URI])
    location = (database.resolve().parent / "artifacts").as_uri() if database else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        # Another process may have made it in between.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
