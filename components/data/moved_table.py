"""An Iceberg table whose files were moved or copied: Iceberg knows absolute paths only."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot


def follow_the_files(catalogue: "SqlCatalog", identifier: tuple[str, str], here: Path) -> None:
    """Write a table's metadata anew if it names another folder than the one where the table lies.

    Snapshots keep their ids and times. New files are written beside the old ones, and the
    catalogue's row is changed last: killed before that, nothing has changed.

    Raises:
        UserError: If the table's metadata are not in the folder.
    """
    from pyiceberg.catalog.sql import IcebergTables
    from sqlalchemy import select, update

    row = (
        IcebergTables.catalog_name == catalogue.name,
        IcebergTables.table_namespace == identifier[0],
        IcebergTables.table_name == identifier[1],
    )
    with catalogue.engine.connect() as connection:
        recorded = connection.scalar(select(IcebergTables.metadata_location).where(*row))
    if recorded is None or Path(recorded).is_relative_to(here):
        return
    current = here / "metadata" / Path(recorded).name
    if not current.is_file():
        raise UserError(
            f"the catalogue's table lies in {Path(recorded).parents[1]} and not in {here}; move "
            "the folder there, or set CATALOGUE_WAREHOUSE to the folder above it"
        )
    written = _rewritten(current, str(Path(recorded).parents[1]), str(here))
    unchanged = IcebergTables.metadata_location == recorded  # unless another process was faster
    with catalogue.engine.begin() as connection:
        changed = update(IcebergTables).where(*row, unchanged)
        connection.execute(changed.values(metadata_location=written))


def _rewritten(metadata: Path, there: str, here: str) -> str:
    """A copy of a metadata file and all that it names, with paths `here`; the copy's path."""
    from pyiceberg.table.metadata import TableMetadataUtil

    def moved(value: Any) -> Any:
        ours = isinstance(value, str) and value.startswith(there)
        return here + value.removeprefix(there) if ours else value

    def moved_strings(content: dict[str, Any]) -> dict[str, Any]:
        return {name: moved(value) for name, value in content.items()}

    text = metadata.read_text(encoding="utf-8")
    table = TableMetadataUtil.parse_obj(json.loads(text, object_hook=moved_strings))
    snapshots = [_rewritten_snapshot(snapshot, table, moved) for snapshot in table.snapshots]
    version = int(metadata.name.partition("-")[0]) + 1
    written = metadata.with_name(f"{version:05}-{uuid4()}.metadata.json")
    changed = table.model_copy(update={"snapshots": snapshots})
    written.write_text(changed.model_dump_json(), encoding="utf-8")
    return str(written)


def _rewritten_snapshot(snapshot: "Snapshot", table: "TableMetadata", moved: Any) -> "Snapshot":
    """A snapshot of which the lists name its files where they are."""
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.manifest import write_manifest, write_manifest_list

    io, schemas = PyArrowFileIO(), {schema.schema_id: schema for schema in table.schemas}
    folder, manifests = Path(snapshot.manifest_list).parent, []
    of_table = (table.format_version,)
    for manifest in snapshot.manifests(io):
        manifest[0] = moved(manifest.manifest_path)
        schema = schemas[snapshot.schema_id]
        spec = table.specs()[manifest.partition_spec_id]
        output = io.new_output(str(folder / f"{uuid4()}-m0.avro"))
        with write_manifest(
            *(*of_table, spec, schema, output, snapshot.snapshot_id, "deflate")
        ) as writer:
            for entry in manifest.fetch_manifest_entry(io, discard_deleted=False):
                entry.data_file[1] = moved(entry.data_file.file_path)
                writer.add_entry(entry)
        manifests.append(writer.to_manifest_file())
    listed = str(folder / f"snap-{snapshot.snapshot_id}-{uuid4()}.avro")
    with write_manifest_list(
        *(*of_table, io.new_output(listed), snapshot.snapshot_id, snapshot.parent_snapshot_id),
        *(snapshot.sequence_number, "deflate"),
    ) as writer:
        writer.add_manifests(manifests)
    return snapshot.model_copy(update={"manifest_list": listed})
