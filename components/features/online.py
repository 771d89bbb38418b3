"""The online store: of each review the newest row of each view, copied where files are new."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.features.views import connection, files_of, parquet
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import data_dir
from components.shared.machine.files import read_json, write_json
from components.shared.machine.online_features import online_features

if TYPE_CHECKING:
    from feast import FeatureStore

logger = logging.getLogger(__name__)

CHECKED = 20
"""Reviews that are looked up online after each copy."""

_BATCH_ROWS = 2_000
"""Rows converted and committed at a time: bounds the memory."""

_TIMES = "event_timestamp, created_timestamp"
_NEWEST = "ORDER BY event_timestamp DESC, created_timestamp DESC"


def copy_online(store: "FeatureStore", service: str, review_ids: list[str]) -> tuple[int, float]:
    """Copy what the views of a service hold newly, and compare some reviews with the files.

    Feast's own incremental copy goes by event times, and would leave out what became known late.
    Where the comparison fails, as after the online store was lost, everything is copied again.

    Returns the number of reviews compared, and the seconds that the copy took.

    Raises:
        UserError: If the online store does not hold what the files do.
    """
    tags = store.get_feature_service(service).tags
    views = [tags["labels_view"], tags["tokens_view"]]
    seconds = sum(_copy(store, view, _copied(view)) for view in views)
    differing = _differences(store, service, views, review_ids)
    if differing:
        seconds += sum(_copy(store, view, ()) for view in views)
        differing = _differences(store, service, views, review_ids)
    if differing:
        raise UserError(
            f"the online store returns other features than the files for review {differing[0]}; "
            "delete the online store and run again"
        )
    return len(review_ids), seconds


def _record(view: str) -> Path:
    """The file that lists what was copied of a view."""
    return data_dir() / ".online" / f"{view}.json"


def _copied(view: str) -> Iterable[str]:
    """Names of a view's files that were copied to the online store."""
    return read_json(_record(view)) if _record(view).is_file() else ()


def _copy(store: "FeatureStore", view: str, copied: Iterable[str]) -> float:
    """Copy the newest row of each review that a file names which was not copied; the seconds."""
    import pandas as pd

    started = time.perf_counter()
    files = files_of(view)
    done = set(copied)
    new = [file for file in files if file.name not in done]
    if not new:
        return 0.0
    rows = f"FROM {parquet(*files)}"
    if len(new) < len(files):
        rows += f" SEMI JOIN (FROM {parquet(*new)}) USING (review_id)"
    with connection() as opened:
        # Which row is the newest is found without the tokens, which would fill the memory.
        newest = f"SELECT DISTINCT ON (review_id) review_id, {_TIMES} {rows}"
        opened.execute(f"CREATE TEMP TABLE newest AS {newest} {_NEWEST}")
        query = f"FROM {parquet(*files)} SEMI JOIN newest USING (review_id, {_TIMES})"
        count = opened.sql("SELECT count(*) FROM newest").fetchall()[0][0]
        logger.info("Copying %d reviews of %s to the online store", count, view)
        for batch in opened.sql(query).to_arrow_reader(_BATCH_ROWS):
            frame = batch.to_pandas(types_mapper=pd.ArrowDtype)
            store.write_to_online_store(view, df=frame, allow_registry_cache=False)
    write_json(_record(view), [file.name for file in files])
    return time.perf_counter() - started


def _differences(
    store: "FeatureStore", service: str, views: list[str], review_ids: list[str]
) -> list[str]:
    """Those of some reviews whose online features are not those of the newest rows in the files."""
    import pyarrow as pa

    expected: dict[str, dict[str, Any]] = {review_id: {} for review_id in review_ids}
    with connection() as opened:
        opened.register("asked", pa.table({"review_id": pa.array(review_ids, pa.string())}))
        for view in views:
            rows = f"FROM {parquet(*files_of(view))} SEMI JOIN asked USING (review_id)"
            query = f"SELECT DISTINCT ON (review_id) * EXCLUDE ({_TIMES}) {rows} {_NEWEST}"
            for row in opened.sql(query).to_arrow_table().to_pylist():
                expected[row["review_id"]] |= row
    asked = [review_id for review_id in review_ids if "n_tokens" in expected[review_id]]
    online = online_features(asked, service, store)
    return [
        review_id
        for review_id, features in zip(asked, online, strict=True)
        if features is None
        or any(expected[review_id][name] != value for name, value in features.items())
    ]
