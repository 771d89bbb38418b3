"""Bring versions of features that were published under names of their own into the stable views.

Up to release 1 each data set made views and a service whose names ended in a hash of it.
"""

import contextlib
import io
import logging
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.features.additions import add_labels, add_texts, since
from components.features.online import CHECKED, copy_online
from components.features.views import (
    SPINE_COLUMNS,
    TOKENS_SCHEMA,
    add,
    adding,
    connection,
    copy_to,
    digest,
    files_of,
    moment,
    parquet,
    remember,
    show,
)
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import (
    apply_objects,
    data_dir,
    open_existing_store,
    store_dir,
    training_sets_dir,
)
from components.shared.machine.files import locked, read_json, write_json, write_parquet
from components.shared.records.labels import SENTIMENTS
from feature_repo.definitions import (
    FORMER_SERVICES,
    LABELS_VIEW,
    SERVICE,
    feature_objects,
    service_name,
    tokens_view,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from feast import FeatureStore

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"[0-9a-f]{12}")


def migrate() -> list[str]:
    """Move every version of the former layout into the views, the oldest first.

    Models keep their feature services: the former names stay, as names of today's. Run again after
    a kill, it goes on; where nothing is left to move it does nothing.

    Returns:
        The versions that were moved.

    Raises:
        UserError: If there is no feature store, or a version lacks a file.
    """
    store = open_existing_store()
    folders = [path.parent for path in data_dir().glob("*/version.json")]
    folders = [folder for folder in folders if _VERSION.fullmatch(folder.name)]
    folders.sort(key=lambda folder: (folder / "version.json").stat().st_mtime)
    services = [_move(folder) for folder in folders]
    if not folders:
        return []
    with locked(store_dir() / ".writing.lock"):
        _register(store)
        there = {service.name for service in store.list_feature_services()}
        for service in sorted(there.intersection(services)):
            copy_online(store, service, _some_ids(store.get_feature_service(service).tags))
    for folder in folders:
        shutil.rmtree(folder)
        (data_dir() / f".{folder.name}.lock").unlink(missing_ok=True)
    return [folder.name for folder in folders]


def _move(folder: Path) -> str:
    """Add the rows of one version to the views; the service that reads them now."""
    labels, tokens = folder / "review_labels.parquet", folder / "review_tokens.parquet"
    for file in (labels, tokens):
        if not file.is_file():
            raise UserError(f"{file} is missing; delete {folder} to leave this version out")
    tags = read_json(folder / "version.json")["tags"]
    written = datetime.fromtimestamp((folder / "version.json").stat().st_mtime, UTC)
    view = tokens_view(tags["tokenizer_fingerprint"])
    with connection() as opened:
        _show_spine(opened, labels)
        add_texts(opened, written)
        if _has_default_labels(opened):
            add_labels(opened, str(SENTIMENTS), written)
        else:
            logger.warning(
                "the classes of version %s are not known: its labels come with the next run of its "
                "data",
                folder.name,
            )
        _add_tokens(opened, view, tokens, tags, written)
        columns = ", ".join(SPINE_COLUMNS)
        remembered = training_sets_dir() / f"{folder.name}.parquet"
        if not remembered.is_file():
            write_parquet(remembered, opened.sql(f"SELECT {columns} FROM spine").to_arrow_table())  # noqa: S608
    service = service_name(view, LABELS_VIEW)
    former = data_dir() / FORMER_SERVICES
    names = read_json(former) if former.is_file() else {}
    write_json(former, {**names, f"{SERVICE}_{folder.name}": service})
    logger.info("%s reads %s now", f"{SERVICE}_{folder.name}", service)
    return service


def _show_spine(opened: "DuckDBPyConnection", labels: Path) -> None:
    """Show DuckDB a version's reviews as `spine`, with the columns that came later filled in."""
    import pyarrow.parquet as pq

    there = pq.read_schema(labels).names
    given = "if(rating IS NULL, 'given', 'rating')"
    filled = {"label_source": given, "label_probability": "1.0::DOUBLE", "weight": "1.0::DOUBLE"}
    added = "".join(f", {sql} AS {name}" for name, sql in filled.items() if name not in there)
    opened.execute(
        f"CREATE OR REPLACE TEMP VIEW spine AS SELECT *, {digest()} AS text_digest{added} "  # noqa: S608
        f"FROM {parquet(labels)}"
    )


def _has_default_labels(opened: "DuckDBPyConnection") -> bool:
    """Whether the labels of `spine` are the default ones, as far as they and the stars tell."""
    known = ", ".join(f"({star}, {value})" for star, value in SENTIMENTS.of_rating.items())
    query = f"""
        SELECT bool_and(sentiment BETWEEN -1 AND 1) AND bool_or(sentiment = -1)
          AND coalesce(bool_and(k.value = s.sentiment) FILTER (s.label_source = 'rating'), true)
        FROM spine AS s LEFT JOIN (VALUES {known}) AS k (star, value) ON k.star = s.rating
        """  # noqa: S608
    return bool(opened.sql(query).fetchall()[0][0])


def _add_tokens(
    opened: "DuckDBPyConnection", view: str, tokens: Path, tags: dict[str, str], written: datetime
) -> None:
    """Add the tokens of a version; which texts were cut is not known, only which fill the limit."""
    names = ("tokenizer_fingerprint", "base_model", "max_tokens", "vocab_size")
    remember(view, {name: tags[name] for name in names}, written)
    with adding(view) as draft:
        known = show(opened, view)
        query = f"""
            SELECT s.review_id, {since(written)} AS event_timestamp,
              {moment(written)} AS created_timestamp, o.input_ids, o.n_tokens,
              o.n_tokens >= {int(tags["max_tokens"])} AS truncated, s.text_digest AS tokenised_text
            FROM spine AS s JOIN {parquet(tokens)} AS o ON o.review_id = s.review_id
            ANTI JOIN {known} AS t
              ON t.review_id = s.review_id AND t.tokenised_text = s.text_digest
            LEFT JOIN (SELECT DISTINCT review_id FROM {known}) AS k ON k.review_id = s.review_id
            """  # noqa: S608 - names of views
        copy_to(draft, opened, query, TOKENS_SCHEMA)
        add(view, draft)


def _register(store: "FeatureStore") -> None:
    """Register the views, and take what the former layout registered out, its tables with it."""
    kinds = [store.list_feature_views(), store.list_data_sources()]
    former = re.compile(r"review_(labels|tokens)_[0-9a-f]{12}(_source)?")
    gone = [one for kind in kinds for one in kind if former.fullmatch(one.name)]
    apply_objects(store, feature_objects(data_dir(), store.config.offline_store.type))
    if gone:
        with contextlib.redirect_stdout(io.StringIO()):
            store.apply([], objects_to_delete=gone, partial=False)


def _some_ids(tags: dict[str, str]) -> list[str]:
    """Ids of reviews that both views of a service hold."""
    labels, tokens = (parquet(*files_of(tags[name])) for name in ("labels_view", "tokens_view"))
    query = f"""SELECT review_id FROM (SELECT DISTINCT review_id FROM {tokens}) AS t
        SEMI JOIN {labels} AS l USING (review_id) ORDER BY md5(review_id) LIMIT {CHECKED}"""  # noqa: S608
    with connection() as opened:
        return [review_id for (review_id,) in opened.sql(query).fetchall()]
