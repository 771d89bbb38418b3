"""What counts of a joined spine: whose label, and whose tokens where ids stand for several texts.

The join finds the newest row of each id. That is the right one but where other data use the same id
for another text or label it otherwise: then the history of the spine's own text decides.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from components.features.views import show
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LABEL = ("sentiment", "label_source", "label_probability")


@dataclass(frozen=True)
class Known:
    """A spine with the labels that count, without the rows of which none was known.

    Attributes:
        spine: The rows, by id.
        joined: What the join found for them, in the same order.
        labels: `sentiment`, `label_source` and `label_probability`, in the same order.
        corrected: How many labels are people's and not the prepared ones.
        left_out: How many rows are gone.
    """

    spine: pa.Table
    joined: pa.Table
    labels: pa.Table
    corrected: int
    left_out: int

    def columns(self) -> dict[str, pa.ChunkedArray]:
        """The columns of a training set but for the tokens.

        A review whose class people changed has no rating any more: the stars say otherwise.
        """
        whole = {name: self.spine[name] for name in self.spine.column_names}
        labels = {name: self.labels[name] for name in _LABEL}
        changed = pc.not_equal(whole["sentiment"], labels["sentiment"])
        nothing = pa.scalar(None, pa.int32())
        return whole | labels | {"rating": pc.if_else(changed, nothing, whole["rating"])}


def settle_labels(
    opened: "DuckDBPyConnection", view: str, spine: pa.Table, joined: pa.Table
) -> Known:
    """Decide on each row's label: people's, if they gave one in time, or the prepared one.

    Raises:
        UserError: If the store has not heard of a prepared label, or knew another one at the time.
    """
    if not spine["review_id"].combine_chunks().equals(joined["review_id"].combine_chunks()):
        raise UserError(
            "the feature store's join lost or doubled reviews; build the features again"
        )
    of_text = _true(pc.equal(joined["labelled_text"], spine["text_digest"]))
    same = of_text
    for name in _LABEL:
        same = pc.and_(same, _true(pc.equal(joined[name], spine[name])))
    test = pc.equal(spine["split"], "test")
    voted = pc.and_(pc.and_(of_text, _true(pc.greater(joined["votes"], 0))), pc.invert(test))
    odd = pc.invert(pc.or_(same, voted))
    labels = {name: pc.if_else(voted, joined[name], spine[name]) for name in _LABEL}
    found = pa.table({"review_id": spine["review_id"], **labels})
    if pc.any(odd).as_py():
        settled = _settle_by_history(opened, view, spine.filter(odd))
        found = pa.concat_tables([found.filter(pc.invert(odd)), settled.cast(found.schema)])
        found = found.sort_by("review_id")
        there = pc.is_in(spine["review_id"], found["review_id"].combine_chunks())
        spine, joined = spine.filter(there), joined.filter(there)
    changed = pc.not_equal(found["sentiment"], spine["sentiment"])
    for name in _LABEL[1:]:
        changed = pc.or_(changed, pc.not_equal(found[name], spine[name]))
    return Known(
        spine=spine,
        joined=joined,
        labels=found,
        corrected=pc.sum(changed).as_py() or 0,
        left_out=len(odd) - spine.num_rows,
    )


def _settle_by_history(opened: "DuckDBPyConnection", view: str, odd: pa.Table) -> pa.Table:
    """The labels that the history of their own texts gives to rows, by id.

    Rows whose label became known later than they are asked for are not among them.
    """
    opened.register("odd", odd)
    query = f"""
        WITH heard AS (
          SELECT o.*, l.votes,
            l.review_id IS NOT NULL AS heard,
            l.review_id IS NOT NULL AND l.event_timestamp <= o.asked_at AS in_time,
            l.sentiment = o.sentiment AND l.label_source = o.label_source
              AND l.label_probability = o.label_probability AS own,
            {{'at': l.event_timestamp, 'created': l.created_timestamp, 'votes': l.votes,
              'sentiment': l.sentiment, 'label_source': l.label_source,
              'label_probability': l.label_probability}} AS label
          FROM odd AS o LEFT JOIN {show(opened, view)} AS l
            ON l.review_id = o.review_id AND l.labelled_text = o.text_digest
        )
        SELECT review_id, any_value(split) = 'test' AS test,
          any_value(sentiment) AS sentiment, any_value(label_source) AS label_source,
          any_value(label_probability) AS label_probability,
          bool_or(heard) AS heard, bool_or(in_time) AS in_time,
          coalesce(bool_or(own) FILTER (in_time OR split = 'test'), false) AS own,
          max(label) FILTER (in_time AND split <> 'test' AND votes IS NOT NULL) AS voted
        FROM heard GROUP BY review_id ORDER BY review_id
        """  # noqa: S608 - the name of a view
    opened.execute(f"CREATE OR REPLACE TEMP TABLE settled AS {query}")
    for column, sentence in (
        (
            "NOT heard OR (test AND NOT own)",
            "{} has a label in the prepared data that the feature store has not heard of: it was "
            "made from other data; build the features of this data",
        ),
        (
            "in_time AND NOT own AND coalesce(voted.votes, 0) = 0",
            "{} had another label in the feature store at that time, and no reviewer gave it; "
            "choose a later as_of, or prepare the data as they were then",
        ),
    ):
        wrong = opened.sql(f"SELECT review_id FROM settled WHERE {column} LIMIT 1").fetchall()  # noqa: S608
        for (review_id,) in wrong:
            raise UserError("review " + sentence.format(review_id))
    voted = "coalesce(voted.votes, 0) > 0"
    columns = ", ".join(f"CASE WHEN {voted} THEN voted.{n} ELSE {n} END AS {n}" for n in _LABEL)
    query = f"SELECT review_id, {columns} FROM settled WHERE in_time OR test"  # noqa: S608
    return opened.sql(query).to_arrow_table()


def tokens_of(
    opened: "DuckDBPyConnection", view: str, spine: pa.Table, joined: pa.Table
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Token ids and their number for each row of a spine, of its own text.

    Raises:
        UserError: If the store has no tokens of a text.
    """
    own = _true(pc.equal(joined["tokenised_text"], spine["text_digest"]))
    names = ["review_id", "input_ids", "n_tokens"]
    if pc.all(own).as_py():
        return joined["input_ids"], joined["n_tokens"]
    opened.register("odd", spine.filter(pc.invert(own)).select(["review_id", "text_digest"]))
    query = f"""SELECT t.review_id, t.input_ids, t.n_tokens FROM {show(opened, view)} AS t
        SEMI JOIN odd AS o ON o.review_id = t.review_id AND o.text_digest = t.tokenised_text"""  # noqa: S608
    table = joined.filter(own).select(names)
    others = opened.sql(query).to_arrow_table().cast(table.schema)
    table = pa.concat_tables([table, others]).sort_by("review_id")
    if table.num_rows != spine.num_rows:
        raise UserError(
            f"{view} lacks tokens of {spine.num_rows - table.num_rows} of {spine.num_rows} "
            "reviews; build the features of this data again"
        )
    return table["input_ids"], table["n_tokens"]


def _true(mask: pa.ChunkedArray) -> pa.ChunkedArray:
    """The mask, false where it is null."""
    return pc.fill_null(mask, False)
