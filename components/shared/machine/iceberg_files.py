"""An Iceberg table whose files were changed by others: moved, copied, or rid of a row.

Iceberg knows absolute paths only, and the size and the smallest and largest values of each file.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

    Described = Callable[[TableMetadata, DataFile], DataFile | None]

ROWS = "rows"
"""Property of a snapshot: how many rows its data set has."""


def follow_the_files(catalogue: "SqlCatalog", identifier: tuple[str, str], here: Path) -> None:
    """Write a table's metadata anew if it names another folder than the one where the table lies.

    Snapshots keep their ids and times. New files are written beside the old ones, and the
    catalogue's row is changed last: killed before that, nothing has changed.

    Raises:
        UserError: If the table's metadata are not in the folder.
    """
    recorded = _recorded(catalogue, identifier)
    if recorded is None or Path(recorded).is_relative_to(here):
        return
    current = here / "metadata" / Path(recorded).name
    if not current.is_file():
        raise UserError(
            f"the catalogue's table lies in {Path(recorded).parents[1]} and not in {here}; move "
            "the folder there, or set CATALOGUE_WAREHOUSE to the folder above it"
        )
    there = str(Path(recorded).parents[1])

    def moved(value: Any) -> Any:
        ours = isinstance(value, str) and value.startswith(there)
        return str(here) + value.removeprefix(there) if ours else value

    def described(_: "TableMetadata", file: "DataFile") -> "DataFile":
        file[1] = moved(file.file_path)
        return file

    _replace(catalogue, identifier, recorded, _rewritten(current, moved, described))


def describe_changed_files(catalogue: "SqlCatalog", identifier: tuple[str, str], here: Path) -> int:
    """Write a table's metadata anew if files have another size than it says; return how many.

    Files that hold no row any more are left out of it. The metadata of before, which tell of what
    was in the files, are deleted; ids and times of the snapshots stay.
    """
    from pyiceberg.io.pyarrow import PyArrowFileIO, parquet_file_to_data_file

    follow_the_files(catalogue, identifier, here)
    recorded = _recorded(catalogue, identifier)
    if recorded is None:
        return 0
    changed: set[str] = set()

    def described(table: "TableMetadata", file: "DataFile") -> "DataFile | None":
        path = Path(file.file_path)
        if not path.is_file() or path.stat().st_size == file.file_size_in_bytes:
            return file
        changed.add(file.file_path)
        new = parquet_file_to_data_file(PyArrowFileIO(), table, file.file_path)
        return new if new.record_count else None

    written = _rewritten(Path(recorded), lambda value: value, described)
    if changed:
        _replace(catalogue, identifier, recorded, written)
    _delete_all_but(Path(written if changed else recorded))
    return len(changed)


def _recorded(catalogue: "SqlCatalog", identifier: tuple[str, str]) -> str | None:
    """Where the catalogue says that a table's metadata are."""
    from pyiceberg.catalog.sql import IcebergTables
    from sqlalchemy import select

    wanted = select(IcebergTables.metadata_location).where(*_row(catalogue, identifier))
    with catalogue.engine.connect() as connection:
        return connection.scalar(wanted)


def _replace(
    catalogue: "SqlCatalog", identifier: tuple[str, str], recorded: str, written: str
) -> None:
    """Name other metadata in the catalogue, unless another process was faster."""
    from pyiceberg.catalog.sql import IcebergTables
    from sqlalchemy import update

    unchanged = IcebergTables.metadata_location == recorded
    changed = update(IcebergTables).where(*_row(catalogue, identifier), unchanged)
    with catalogue.engine.begin() as connection:
        connection.execute(
            changed.values(metadata_location=written, previous_metadata_location=None)
        )


def _row(catalogue: "SqlCatalog", identifier: tuple[str, str]) -> tuple:
    from pyiceberg.catalog.sql import IcebergTables

    return (
        IcebergTables.catalog_name == catalogue.name,
        IcebergTables.table_namespace == identifier[0],
        IcebergTables.table_name == identifier[1],
    )


def _rewritten(metadata: Path, moved: Callable[[Any], Any], described: "Described") -> str:
    """A copy of a metadata file and all that it names, with what is changed; the copy's path."""
    from pyiceberg.table.metadata import TableMetadataUtil

    def moved_strings(content: dict[str, Any]) -> dict[str, Any]:
        return {name: moved(value) for name, value in content.items()}

    text = metadata.read_text(encoding="utf-8")
    table = TableMetadataUtil.parse_obj(json.loads(text, object_hook=moved_strings))
    folder = metadata.parent
    snapshots = [_rewritten_snapshot(one, table, folder, described) for one in table.snapshots]
    version = int(metadata.name.partition("-")[0]) + 1
    written = metadata.with_name(f"{version:05}-{uuid4()}.metadata.json")
    changed = table.model_copy(update={"snapshots": snapshots, "metadata_log": []})
    written.write_text(changed.model_dump_json(), encoding="utf-8")
    return str(written)


def _rewritten_snapshot(
    snapshot: "Snapshot", table: "TableMetadata", folder: Path, described: "Described"
) -> "Snapshot":
    """A snapshot of which the lists name its files where they are, as they are."""
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.manifest import write_manifest, write_manifest_list

    io, schemas = PyArrowFileIO(), {schema.schema_id: schema for schema in table.schemas}
    manifests, rows = [], 0
    of_table = (table.format_version,)
    for manifest in snapshot.manifests(io):
        manifest[0] = str(folder / Path(manifest.manifest_path).name)
        schema = schemas[snapshot.schema_id]
        spec = table.specs()[manifest.partition_spec_id]
        output = io.new_output(str(folder / f"{uuid4()}-m0.avro"))
        entries = manifest.fetch_manifest_entry(io, discard_deleted=False)
        kept = [(entry, described(table, entry.data_file)) for entry in entries]
        with write_manifest(
            *(*of_table, spec, schema, output, snapshot.snapshot_id, "deflate")
        ) as writer:
            for entry, file in kept:
                if file is not None:
                    entry.data_file = file
                    rows += file.record_count
                    writer.add_entry(entry)
        manifests.append(writer.to_manifest_file())
    listed = str(folder / f"snap-{snapshot.snapshot_id}-{uuid4()}.avro")
    with write_manifest_list(
        *(*of_table, io.new_output(listed), snapshot.snapshot_id, snapshot.parent_snapshot_id),
        *(snapshot.sequence_number, "deflate"),
    ) as writer:
        writer.add_manifests(manifests)
    summary = snapshot.summary
    if summary is not None and ROWS in summary.additional_properties:
        summary[ROWS] = str(rows)
    return snapshot.model_copy(update={"manifest_list": listed, "summary": summary})


def _delete_all_but(metadata: Path) -> None:
    """Delete the metadata of a table that a metadata file does not name."""
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.table.metadata import TableMetadataUtil

    table = TableMetadataUtil.parse_raw(metadata.read_text(encoding="utf-8"))
    kept = {metadata.name}
    for snapshot in table.snapshots:
        kept.add(Path(snapshot.manifest_list).name)
        kept |= {Path(one.manifest_path).name for one in snapshot.manifests(PyArrowFileIO())}
    for file in metadata.parent.iterdir():
        if file.is_file() and file.name not in kept:
            file.unlink()
