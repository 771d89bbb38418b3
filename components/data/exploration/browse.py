"""The table itself, to browse: skrub's report of each column, of pairs of them, and some rows."""

import logging
import warnings
from pathlib import Path

from components.data.exploration.reading import iterate_prepared
from components.data.exploration.sample import Sample
from components.shared.machine.files import replaced_when_whole
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import PREPARED_SCHEMA

logger = logging.getLogger(__name__)

BROWSED_ROWS = 20_000
"""Of more reviews a random sample is summarised."""

_SHOWN_ROWS = 60
_MOST_CHARACTERS = 1_000
"""Of a text; what is longer would make a page of many megabytes."""


def browse(prepared: str | Path, page: str | Path, most_rows: int = BROWSED_ROWS) -> int:
    """Write a page on which columns and rows can be looked through.

    Args:
        prepared: Parquet in `PREPARED_SCHEMA`.
        page: HTML file to write; it loads nothing, and texts are escaped.
        most_rows: Most reviews to summarise.

    Returns:
        Reviews that were summarised.

    Raises:
        UserError: If the file is missing, is something else or has no rows.
    """
    from skrub import TableReport

    labels = labels_of_file(prepared)
    names = dict(zip(labels.values, labels.names, strict=True))
    sample, in_all = Sample(most_rows, PREPARED_SCHEMA.names), 0
    for table in iterate_prepared(prepared):
        sample.add(table)
        in_all += table.num_rows
    frame = sample.table().to_pandas()
    frame["sentiment"] = frame["sentiment"].map(names)
    frame["review_body"] = frame["review_body"].str.slice(0, _MOST_CHARACTERS)
    title = f"{in_all:,} prepared reviews"
    if len(frame) < in_all:
        title = f"A random sample of {len(frame):,} of {title}"
    with warnings.catch_warnings():
        # Its charts are drawn with matplotlib, which says much of names that look like numbers,
        # and whose own font lacks many letters.
        logging.getLogger("matplotlib.category").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        html = TableReport(frame, n_rows=_SHOWN_ROWS, title=title, verbose=0).html()
    with replaced_when_whole(page) as draft:
        draft.write_text(html, encoding="utf-8")
    logger.info("%s on a page of %.1f MB", title, len(html.encode()) / 1e6)
    return len(frame)
