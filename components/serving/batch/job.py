"""A scoring job and its folder: what is scored by which model, and which shards are done.

The folder holds `part-*.parquet`, a file for each shard, and under names with an underscore, which
readers of Parquet folders pass over, the manifest and the summary. A shard's name follows from what
is scored and by which model, and a file is renamed into place when it is whole: so a shard that is
there is done, and a job that was killed goes on with the others.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, sha256_of_file, write_json
from components.shared.records.file_list import folder_digest
from components.shared.records.model_folder import check_model_folder, read_calibration
from components.shared.records.scored import TO_SCORE_SCHEMA

MANIFEST, SUMMARY, QUARANTINE = "_manifest.json", "_summary.json", "_quarantine.parquet"
"""Names in the folder, beside the parts."""

READ = ".reviews.parquet"
"""Name in the folder under which a command keeps what it has read while it scores."""

_LOCK = ".lock"
_NAME_ANOTHER = "name another folder, or delete this one to begin anew"


@dataclass(frozen=True)
class Job:
    """What is scored, by which model.

    Attributes:
        reviews: The file that is scored: rows, bytes and SHA-256.
        rows: Reviews of each shard, which is a row group of the file.
        model: Name, version and digest of the model, and its calibration.
    """

    reviews: dict[str, Any]
    rows: tuple[int, ...]
    model: dict[str, Any]

    @classmethod
    def of(cls, reviews: Path, model_folder: Path, model_name: str, model_version: str) -> "Job":
        """The job of scoring a file in `TO_SCORE_SCHEMA` with a model folder.

        Raises:
            UserError: If the file is not in that schema, or the model folder is not whole.
        """
        rows = _rows_of(reviews)
        size, digest = reviews.stat().st_size, sha256_of_file(reviews)
        check_model_folder(model_folder)
        model = {"name": model_name, "version": model_version}
        model |= {"digest": folder_digest(model_folder)}
        model |= {"calibration": read_calibration(model_folder).to_dict()}
        return cls({"rows": sum(rows), "bytes": size, "sha256": digest}, rows, model)

    @cached_property
    def digest(self) -> str:
        """What tells this job from every other."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def part(self, folder: Path, shard: int) -> Path:
        """The file of a shard's predictions."""
        return folder / f"part-{shard:06d}-{self.digest[:12]}.parquet"


def _rows_of(reviews: Path) -> tuple[int, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(reviews)
    except FileNotFoundError:
        raise UserError(f"{reviews} does not exist; run the step that writes it first") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{reviews} is no Parquet file ({error}); write it again") from None
    if not file.schema_arrow.equals(TO_SCORE_SCHEMA):
        raise UserError(
            f"{reviews} does not hold reviews to score; let the step `read-unlabelled` write it"
        )
    groups = range(file.metadata.num_row_groups)
    return tuple(file.metadata.row_group(group).num_rows for group in groups)


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it against a second process that would write to it.

    Raises:
        UserError: If another process scores into it, or it holds what no job of scoring wrote.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    strange = sorted(path.name for path in folder.iterdir() if path.name[0] not in "._")
    if not (folder / MANIFEST).is_file() and strange:
        raise UserError(
            f"{folder} holds {strange[0]}, which scoring did not write; {_NAME_ANOTHER}"
        )
    try:
        with FileLock(folder / _LOCK, timeout=0):
            for draft in folder.glob(".part-*"):  # of a process that was killed
                shutil.rmtree(draft, ignore_errors=True)
            yield
    except Timeout:
        raise UserError(
            f"another process is scoring into {folder}; let it end, or name another folder"
        ) from None


def engine_of_earlier_try(folder: Path, job: Job, engine: str, auto: str) -> str:
    """The engine that the job goes on with: the one that began it, or the one that is wanted.

    Raises:
        UserError: If the folder's manifest is of other reviews, another model or another engine.
    """
    if not (folder / MANIFEST).is_file():
        return engine
    found = read_json(folder / MANIFEST)
    before, now = found.get("model", {}), job.model
    if before != now:
        who, other = (f"{m.get('name')} version {m.get('version')}" for m in (before, now))
        if who == other:
            other = "files of it that are not the same"
        raise UserError(f"{folder} is scored by {who}, and this is {other}; {_NAME_ANOTHER}")
    if (found.get("reviews"), tuple(found.get("rows", ()))) != (job.reviews, job.rows):
        raise UserError(
            f"{folder} holds the predictions of {found.get('reviews', {}).get('rows')} other "
            f"reviews than these {job.reviews['rows']}; {_NAME_ANOTHER}"
        )
    if engine not in (auto, found["engine"]):
        raise UserError(
            f"{folder} was begun with engine {found['engine']}, not {engine}; {_NAME_ANOTHER}"
        )
    return str(found["engine"])


def write_manifest(folder: Path, job: Job, engine: str) -> None:
    """Say in the folder what its predictions are of and by."""
    write_json(folder / MANIFEST, {**asdict(job), "rows": list(job.rows), "engine": engine})


def is_done(part: Path, rows: int) -> bool:
    """Whether a shard's file is there and whole; one that a crash of the machine cut is not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_metadata(part).num_rows == rows)
    except (OSError, pa.ArrowInvalid):
        return False
