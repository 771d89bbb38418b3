"""The catalogue of ingested data: an Iceberg table whose snapshots are the data sets.

Each ingest is a snapshot that holds the rows of that ingest and no others. Its branch is called by
the data fingerprint; `main` is the data set that was ingested last. Trino and Spark read the same
catalogue. Two environment variables say where it lies; without them nothing is registered.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from components.data.warehouse import files_in, lay_out
from components.shared.machine.commands import make_command
from components.shared.machine.errors import UserError
from components.shared.machine.files import locked
from components.shared.machine.iceberg_files import describe_changed_files, follow_the_files
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import REVIEW_SCHEMA

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table import Table

URI_VARIABLE = "CATALOGUE_URI"
"""Environment variable with the database of the catalogue, as SQLAlchemy writes its address."""
WAREHOUSE_VARIABLE = "CATALOGUE_WAREHOUSE"
"""Environment variable with the folder of its files."""

CATALOGUE, NAMESPACE, TABLE = "reviews", "sentiment", "reviews"
"""What other engines call it: catalogue `reviews`, table `sentiment.reviews`."""

_IDENTIFIER = (NAMESPACE, TABLE)


@dataclass(frozen=True)
class DataSet:
    """A data set as the catalogue knows it."""

    fingerprint: str  # of the data; also the name of its branch
    snapshot_id: int  # Iceberg's
    rows: int
    source: str  # the URI that was ingested, without credentials
    labels: str  # the label set, as `LabelSet.parse` reads it
    ingested: datetime  # when it became the newest data set
    folder: Path  # with a folder for each month


def register(reviews: str | Path, fingerprint: str, source: str) -> DataSet | None:
    """Lay out what ingest wrote and make it the newest data set; None without a catalogue.

    A fingerprint that is registered already gets no second snapshot, but becomes the newest data
    set again. Killed at any point, this leaves the data set registered whole or not at all.

    Raises:
        UserError: If the catalogue cannot be opened.
    """
    if not os.environ.get(URI_VARIABLE):
        return None
    from pyiceberg.table.refs import MAIN_BRANCH
    from pyiceberg.table.update.snapshot import ManageSnapshots

    warehouse = _warehouse()
    folder = _folder(warehouse, fingerprint)
    with locked(warehouse / ".lock"), _opened(warehouse) as catalogue:
        for draft in folder.parent.glob(f".{fingerprint}.*"):  # of runs that were killed
            shutil.rmtree(draft, ignore_errors=True)
        if not folder.is_dir():
            lay_out(reviews, folder)
        table = _table(catalogue, warehouse) or _made(catalogue, warehouse)
        with table.transaction() as change:
            refs = ManageSnapshots(change)
            if fingerprint in table.refs():
                refs.set_current_snapshot(ref_name=fingerprint).commit()
            else:
                # Other releases of the project may know fewer columns, or more.
                with change.update_schema() as columns:
                    columns.union_by_name(REVIEW_SCHEMA)
                # On a branch of its own a snapshot has no parent, and so no rows of others. Only
                # `main` takes the first snapshot of a table.
                is_first = table.current_snapshot() is None
                change.add_files(
                    files_in(folder),
                    snapshot_properties={
                        "data_fingerprint": fingerprint,
                        "rows": str(pq.read_metadata(reviews).num_rows),
                        "source": source,
                        "labels": str(labels_of_file(reviews)),
                    },
                    check_duplicate_files=False,
                    branch=MAIN_BRANCH if is_first else fingerprint,
                )
                made = change.table_metadata.snapshots[-1].snapshot_id
                if is_first:
                    refs.create_branch(made, fingerprint).commit()
                else:
                    refs.set_current_snapshot(made).commit()
        return _data_sets(catalogue.load_table(_IDENTIFIER), warehouse)[-1]


def data_sets() -> list[DataSet]:
    """The data sets in the order in which they were ingested; one may be there more than once.

    Raises:
        UserError: If the catalogue cannot be opened, or is empty.
    """
    remedy = f"`{make_command('run')}` makes one"
    if not os.environ.get(URI_VARIABLE):
        raise UserError(f"{URI_VARIABLE} is not set, so that there is no catalogue; {remedy}")
    warehouse = _warehouse()
    if not warehouse.is_dir():
        raise UserError(f"there is no catalogue in {warehouse}; {remedy}")
    with _opened(warehouse) as catalogue:
        table = _table(catalogue, warehouse)
        found = _data_sets(table, warehouse) if table else []
    if not found:
        raise UserError(f"the catalogue in {warehouse} holds no data set; {remedy}")
    return found


def files_of(data_set: DataSet) -> list[str]:
    """The Parquet files of a data set, from its snapshot.

    Raises:
        UserError: If one is missing.
    """
    warehouse = _warehouse()
    with _opened(warehouse) as catalogue:
        table = catalogue.load_table(_IDENTIFIER)
        scan = table.scan(snapshot_id=data_set.snapshot_id)
        files = sorted(task.file.file_path for task in scan.plan_files())
    for file in files:
        if not Path(file).is_file():
            raise UserError(
                f"{file} is missing, which the catalogue names; remove {data_set.folder} and "
                "ingest the same data again"
            )
    return files


def describe_again() -> int:
    """Tell the catalogue of data files from which rows were deleted; how many there were.

    What it knew of the rows, such as the beginning of the first text, goes with them.

    Raises:
        UserError: If the catalogue cannot be opened.
    """
    if not os.environ.get(URI_VARIABLE) or not _warehouse().is_dir():
        return 0
    warehouse = _warehouse()
    with locked(warehouse / ".lock"), _opened(warehouse) as catalogue:
        if _table(catalogue, warehouse) is None:
            return 0
        return describe_changed_files(catalogue, _IDENTIFIER, warehouse / TABLE)


def _warehouse() -> Path:
    folder = os.environ.get(WAREHOUSE_VARIABLE)
    if not folder:
        raise UserError(
            f"{URI_VARIABLE} is set and {WAREHOUSE_VARIABLE} is not; set it to the folder for the "
            "catalogue's files"
        )
    return Path(folder).expanduser().resolve()


def _folder(warehouse: Path, fingerprint: str) -> Path:
    return warehouse / TABLE / "data" / fingerprint


@contextmanager
def _opened(warehouse: Path) -> "Iterator[SqlCatalog]":
    """The catalogue, its database made if it is missing; its errors in words."""
    from pyiceberg.catalog.sql import SqlCatalog
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("pyiceberg").setLevel(logging.WARNING)  # it says which reader it takes
    uri = os.environ[URI_VARIABLE]
    try:
        catalogue = SqlCatalog(CATALOGUE, uri=uri, warehouse=str(warehouse))
        try:
            yield catalogue
        finally:
            catalogue.close()
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"the database of the catalogue cannot be used ({reason}); check {URI_VARIABLE}"
        ) from error


def _table(catalogue: "SqlCatalog", warehouse: Path) -> "Table | None":
    """The table, whose files may have been moved or copied with the warehouse; None without one."""
    from pyiceberg.exceptions import NoSuchTableError, ValidationError

    try:
        follow_the_files(catalogue, _IDENTIFIER, warehouse / TABLE)
        return catalogue.load_table(_IDENTIFIER)
    except NoSuchTableError:
        return None
    except UserError:
        raise
    except (ValidationError, ValueError, OSError) as error:
        raise UserError(
            f"the metadata of the catalogue in {warehouse} cannot be read "
            f"({' '.join(str(error).split())[:200]}); restore the folder from a copy, or move it "
            "away and ingest again"
        ) from error


def _made(catalogue: "SqlCatalog", warehouse: Path) -> "Table":
    """A new table, partitioned by the month of the review."""
    from pyiceberg.transforms import MonthTransform

    catalogue.create_namespace_if_not_exists(NAMESPACE)
    location = str(warehouse / TABLE)
    with (
        # A snapshot that is tried again on another's would be no data set of its own.
        catalogue.create_table_transaction(
            _IDENTIFIER, REVIEW_SCHEMA, location, properties={"commit.retry.num-retries": "0"}
        ) as change,
        change.update_spec() as partitions,
    ):
        partitions.add_field("event_timestamp", MonthTransform(), "event_month")
    return catalogue.load_table(_IDENTIFIER)


def _data_sets(table: "Table", warehouse: Path) -> list[DataSet]:
    made = []
    for entry in table.history():
        snapshot = table.snapshot_by_id(entry.snapshot_id)
        facts = snapshot.summary.additional_properties
        made.append(
            DataSet(
                fingerprint=facts["data_fingerprint"],
                snapshot_id=snapshot.snapshot_id,
                rows=int(facts["rows"]),
                source=facts["source"],
                labels=facts["labels"],
                ingested=datetime.fromtimestamp(entry.timestamp_ms / 1000, UTC),
                folder=_folder(warehouse, facts["data_fingerprint"]),
            )
        )
    return made
