"""Finding a review in a file of each format, and writing the file again without it.

Each function counts what is to go, and where a draft is named, writes the cleaned file there.
"""

import json
import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.personal_data.wanted import ID_COLUMNS, Wanted

if TYPE_CHECKING:
    import pyarrow as pa

GONE = "<!doctype html>\n<title>Removed</title>\n<p>This page showed a review that was deleted on "
GONE += "request. The step that made it can be run again.</p>\n"

_REMOVED = object()
_SHORTEST_ID = 8
"""Shorter ids are not looked for where they could mean anything: in plain text, among strings."""


def clean_parquet(path: Path, wanted: Wanted, draft: Path | None) -> int:
    """Rows of the review: by its id, and where a row names none, by its text or the text's digest.

    Schema, metadata and size of the row groups stay.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        table = file.read()
    gone = _rows_of(table, wanted)
    if gone and draft is not None:
        kept = table.filter(pa.array([row not in gone for row in range(len(table))]))
        pq.write_table(kept, draft, compression="zstd", row_group_size=max(sizes))
    return len(gone)


def _rows_of(table: "pa.Table", wanted: Wanted) -> set[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    gone: set[int] = set()
    if not len(table):  # Of a column without chunks, Arrow's `indices_nonzero` is a crash.
        return gone
    nameless = None
    ids = pa.array(sorted(wanted.ids), pa.string())
    for name in ID_COLUMNS:
        if name in table.column_names:
            column = table[name].cast(pa.string())
            gone.update(pc.indices_nonzero(pc.is_in(column, ids)).to_pylist())
            nothing = pc.is_null(column)
            nameless = nothing if nameless is None else pc.and_(nameless, nothing)
    rows = range(len(table)) if nameless is None else pc.indices_nonzero(nameless).to_pylist()
    if not rows:
        return gone
    digests = table["text_sha256"].to_pylist() if "text_sha256" in table.column_names else []
    gone.update(row for row in rows if digests and digests[row] in wanted.digests)
    for field in table.schema:
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            texts = table[field.name].to_pylist()
            gone.update(row for row in rows if texts[row] and wanted.is_in(texts[row]))
    return gone


def clean_json(path: Path, wanted: Wanted, draft: Path | None) -> int:
    """What a JSON file says of the review: objects that name its id, and pieces of its text."""
    text = path.read_text(encoding="utf-8")
    if not (wanted.is_in(text) or any(json.dumps(one)[1:-1] in text for one in wanted.ids)):
        return 0
    removed: list[Any] = []
    content = _pruned(json.loads(text), wanted, removed.append)
    if content is _REMOVED:
        content = {"removed": "this was about a review that was deleted on request"}
    if removed and draft is not None:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return len(removed)


def _pruned(node: Any, wanted: Wanted, note: Callable[[Any], None]) -> Any:
    """A node without what is of the review, `_REMOVED` where nothing is left of it."""
    if isinstance(node, str):
        is_of_it = node in _long(wanted.ids) or wanted.is_in(node)
    elif isinstance(node, dict):
        is_of_it = any(node.get(name) in wanted.ids for name in ID_COLUMNS if name in node)
    else:
        is_of_it = False
    if is_of_it:
        note(node)
        return _REMOVED
    if isinstance(node, dict):
        pairs = ((key, _pruned(value, wanted, note)) for key, value in node.items())
        kept: Any = {key: None if value is _REMOVED else value for key, value in pairs}
        for key in kept.keys() & _long(wanted.ids):
            note(kept.pop(key))
    elif isinstance(node, list):
        kept = [one for one in (_pruned(one, wanted, note) for one in node) if one is not _REMOVED]
    else:
        return node
    # A text that is given word by word.
    if wanted.is_in(json.dumps(_strings(kept), ensure_ascii=False)):
        note(kept)
        return _REMOVED
    return kept


def _strings(node: Any) -> list[str]:
    """The texts in a node, without the names of keys and the numbers between them."""
    if isinstance(node, str):
        return [node]
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [text for one in inner for text in _strings(one)]


def clean_page(path: Path, wanted: Wanted, draft: Path | None) -> int:
    """A page that shows the review; it gives way to one that says so."""
    page = path.read_text(encoding="utf-8", errors="replace")
    found = wanted.is_in_page(page) or bool(_named(page, wanted))
    if found and draft is not None:
        draft.write_text(GONE, encoding="utf-8")
    return int(found)


def clean_text(path: Path, wanted: Wanted, draft: Path | None) -> int:
    """Lines that hold the review's id or a piece of its text."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not (wanted.is_in(line) or _named(line, wanted))]
    if len(kept) == len(lines) and wanted.is_in("".join(lines)):
        kept = []  # spread over lines
    if len(kept) < len(lines) and draft is not None:
        draft.write_text("".join(kept), encoding="utf-8")
    return len(lines) - len(kept)


def _named(text: str, wanted: Wanted) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text) for one in _long(wanted.ids))


def _long(ids: Set[str]) -> set[str]:
    """The ids that can mean nothing else."""
    return {one for one in ids if len(one) >= _SHORTEST_ID}


def clean_other(path: Path, wanted: Wanted, draft: Path | None) -> int:
    """A file of a format that nobody here knows: it is only searched, byte by byte."""
    content = path.read_bytes()
    return int(any(piece in content for piece in wanted.raw_pieces))


def cleaner_of(path: Path) -> Callable[[Path, Wanted, Path | None], int] | None:
    """What cleans a file, by its content; None for weights of models, which hold no texts."""
    if path.suffix in (".safetensors", ".bin", ".lock", ".key", ".avro"):
        return None
    with path.open("rb") as stream:
        start = stream.read(512)
    if start.startswith(b"PAR1"):
        return clean_parquet
    if b"\0" in start:
        return clean_other
    start = start.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return clean_page
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return clean_other
    if start.startswith((b"{", b"[")):
        try:
            json.loads(text)
            return clean_json
        except ValueError:
            pass
    return clean_text
