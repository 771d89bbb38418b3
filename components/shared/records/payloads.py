"""What was asked and answered: the rows that a model server logs and monitoring and rollout read.

The log is a folder or object prefix with one folder for each day, `date=2026-11-21/`, which holds
any number of Parquet files from any number of servers. A file is whole from the moment it is there.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS
from components.shared.records.open_inference import QUESTION
from components.shared.records.text_statistics import TEXT_STATISTICS

if TYPE_CHECKING:
    from pyarrow.compute import Expression
    from pyarrow.fs import FileSystem

_TIME = pa.timestamp("us", tz="UTC")


def payload_schema(class_names: Sequence[str] = SENTIMENTS.names) -> pa.Schema:
    """One row for each predicted text.

    `time` is when it was answered, `position` its index in the request. `text_sha256` is the digest
    of the text that the model read (`records.text.model_text`), so that the same review is
    recognised without its text; where a review was asked for by its key, the server has no text,
    and it is that of `review_id=KEY`. `text` is null unless texts are kept, and then has personal
    data masked (`records.masking`). Probabilities, `p_NAME` of each class, are calibrated, in the
    precision in which they are answered.

    The columns after `truncated` are null in logs of earlier releases. `review_id` and
    `product_category` are what the client said; `n_tokens` is null where the model reads texts, and
    `TEXT_STATISTICS` where the server has none.
    """
    fields = [
        pa.field("time", _TIME, nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("model_name", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("text_sha256", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        *(pa.field(f"p_{name}", pa.float32(), nullable=False) for name in class_names),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("review_id", pa.string()),
        pa.field("product_category", pa.string()),
        pa.field("n_tokens", pa.int32()),
        *TEXT_STATISTICS,
    ]
    return pa.schema(fields)


_DAY = re.compile(r"(?:^|/)date=(\d{4}-\d{2}-\d{2})/")
_PASSWORD = re.compile(r"[A-Za-z0-9+.-]+://[^/@]*:[^@]*@")


def day_folder(day: date) -> str:
    """Name of the folder that holds a day's files (UTC)."""
    return f"date={day.isoformat()}"


def check_no_password(uri: str) -> str:
    """Return the URI if it holds no password; `UserError`, which does not repeat it, if it does."""
    if _PASSWORD.search(uri):
        raise UserError(
            f"the {uri.partition('://')[0]} URI of the payload log holds a password; take it out "
            "and give credentials through the environment, as fsspec's file systems read them"
        )
    return uri


def read_payloads(
    uri: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: list[str] | None = None,
    skipped: list[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> pa.Table:
    """Read a payload log; only the folders of the days asked for are opened.

    Args:
        uri: Folder or object prefix of the log, any that fsspec reads.
        since: First time to read, with its time zone; from the beginning where None.
        until: Time to stop before, with its time zone; to the end where None.
        columns: Names to read, `p_*` for the probability of each class; all where None.
        skipped: Gets a sentence on each file that is left out because it is damaged, or of other
            classes than the newest file; where None, such a file is refused.
        class_names: Classes of the files that `skipped` leaves in, instead of the newest file's.

    Returns:
        Rows of `payload_schema` (its `columns`), sorted by time, request and position; without the
        project's own questions (`open_inference.QUESTION`), which are not traffic.

    Raises:
        UserError: If nothing is at the URI, it cannot be reached, or a file is not of the schema.
        KeyError: If the schema has no such column.
    """
    import fsspec
    import pyarrow.dataset as ds
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    check_no_password(uri)
    order = ["time", "request_id", "position"]
    try:
        files, root = fsspec.core.url_to_fs(uri)
        # Another process writes there: a listing kept from before would hide its files.
        files.invalidate_cache()
        if not files.exists(root):
            remedy = "check the URI, or wait until a server has written there"
            raise UserError(f"there is no payload log at {uri}; {remedy}")
        paths = [path for path in sorted(files.find(root)) if _is_asked_for(path, since, until)]
        arrow_files = PyFileSystem(FSSpecHandler(files))
        if skipped is not None:
            paths = _usable(paths, arrow_files, skipped, class_names)
        whole = payload_schema(class_names or SENTIMENTS.names)
        if paths:
            whole = payload_schema(_classes_of(paths[-1], arrow_files))
        wanted = (
            whole.names
            if columns is None
            else [
                name
                for asked in columns
                for name in (_probabilities(whole) if asked == "p_*" else [asked])
            ]
        )
        schema = pa.schema([whole.field(name) for name in dict.fromkeys([*order, *wanted])])
        if not paths:
            return schema.empty_table().select(wanted)
        dataset = ds.dataset(paths, schema=schema, format="parquet", filesystem=arrow_files)
        table = dataset.to_table(columns=schema.names, filter=_traffic(since, until))
        # A file without a column of the schema reads as nulls: the cast refuses them.
        table = table.cast(schema).sort_by([(name, "ascending") for name in order])
        return table.select(wanted)
    except (UserError, KeyError):
        raise
    except Exception as error:  # What file systems raise has nothing in common: see botocore.
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the payload log at {uri} cannot be read: {reason}") from None


def _classes_of(path: str, files: "FileSystem") -> list[str]:
    """Names of the classes in a file of the log; raises what Arrow does where it is damaged."""
    import pyarrow.dataset as ds

    names = ds.dataset([path], format="parquet", filesystem=files).schema.names
    return [name[2:] for name in names if name.startswith("p_")]


def _usable(
    paths: list[str],
    files: "FileSystem",
    skipped: list[str],
    class_names: Sequence[str] | None,
) -> list[str]:
    """The files that are whole and of these or the newest one's classes; a sentence on others."""
    usable: list[str] = []
    classes = list(class_names) if class_names else None
    for path in reversed(paths):
        try:
            found = _classes_of(path, files)
        except (pa.ArrowException, OSError) as error:
            skipped.append(f"{path} is damaged: {' '.join(str(error).split())[:300]}")
            continue
        classes = classes or found
        if found == classes:
            usable.append(path)
        else:
            told = f"{', '.join(found)}, not {', '.join(classes)}"
            skipped.append(f"{path} is of a model with other classes: {told}")
    return usable[::-1]


def _probabilities(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if name.startswith("p_")]


def _is_asked_for(path: str, since: datetime | None, until: datetime | None) -> bool:
    found = _DAY.search(path)
    if found is None or not path.endswith(".parquet") or path.rpartition("/")[2].startswith("."):
        return False
    day = date.fromisoformat(found[1])
    first = date.min if since is None else since.astimezone(UTC).date()
    return first <= day <= (date.max if until is None else until.astimezone(UTC).date())


def _traffic(since: datetime | None, until: datetime | None) -> "Expression":
    """Rows of a span of time that clients asked for."""
    import pyarrow.compute as pc

    asked = ~pc.starts_with(pc.field("request_id"), QUESTION)
    between = _between(since, until)
    return asked if between is None else asked & between


def _between(since: datetime | None, until: datetime | None) -> "Expression | None":
    import pyarrow.compute as pc

    time, kind = pc.field("time"), _TIME
    after = None if since is None else time >= pa.scalar(since.astimezone(UTC), kind)
    before = None if until is None else time < pa.scalar(until.astimezone(UTC), kind)
    return before if after is None else after if before is None else after & before
