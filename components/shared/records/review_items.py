"""Review items: the reviews that people are asked about, and how each came to be drawn."""

from pathlib import Path

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.labels import SENTIMENTS, LabelSet, labels_of_file

UNCERTAIN, LABEL_NOISE, AUDIT = "uncertain", "label_noise", "audit"
QUEUES = (UNCERTAIN, LABEL_NOISE, AUDIT)
"""Why somebody is asked: the model is unsure, the label is in doubt, or by chance alone."""

DRAWN = (UNCERTAIN, AUDIT)
"""The queues that are random samples of the live reviews; what people say there estimates how good
the model is, each item weighted by 1 / `inclusion_probability`."""

CANNOT_TELL = "cannot_tell"
"""What a person answers who cannot tell; never the name of a class."""

_DIGITS = 24


def review_items_schema(labels: LabelSet = SENTIMENTS) -> pa.Schema:
    """One row for each review that people are asked about.

    `item_id` is the review's id, or made from its text where the log knows none (`item_id_of`).
    `review_body` is masked; where the review comes from the log it is the text that the model read,
    title included. `occurrences` says how many rows of the log have that text: it was drawn once,
    with `inclusion_probability`, which for drawn items is never 0 and holds for all queues together
    that could have drawn it. `weight` is what the review counts in training: 1 on average, more
    where it was unlikely to be drawn, capped.

    `label` (the model's answer by class name; nobody who reviews is shown it) and `p_NAME` are of
    the model that answered, or of the cheap model that doubted the `given` label. `split` is set
    where the review is one of the training data. `time` is when it was answered, or doubted.
    """
    text, number = pa.string(), pa.float64()
    fields = [
        pa.field("item_id", text, nullable=False),
        pa.field("review_id", text),
        pa.field("title", text),
        pa.field("review_body", text, nullable=False),
        pa.field("product_category", text),
        pa.field("queue", text, nullable=False),
        pa.field("inclusion_probability", number, nullable=False),
        pa.field("weight", number, nullable=False),
        pa.field("occurrences", pa.int32(), nullable=False),
        pa.field("model_name", text),
        pa.field("model_version", text),
        pa.field("label", text, nullable=False),
        *(pa.field(f"p_{name}", number, nullable=False) for name in labels.names),
        pa.field("given", text),
        pa.field("split", text),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
    return labels.on(pa.schema(fields))


def item_id_of(review_id: str | None, text_sha256: str) -> str:
    """Id of a logged review: its own, or `text-` and the first digits of the log's text digest."""
    return review_id or f"text-{text_sha256[:_DIGITS]}"


def check_answers(labels: LabelSet) -> tuple[str, ...]:
    """What a person may answer: the class names, and that one cannot tell.

    Raises:
        UserError: If a class has that name.
    """
    if CANNOT_TELL in labels.names:
        raise UserError(
            f"a class is called {CANNOT_TELL!r}, which is what reviewers answer who cannot tell; "
            "give it another name to have it reviewed"
        )
    return (*labels.names, CANNOT_TELL)


def write_items(folder: Path, name: str, items: pa.Table) -> Path:
    """Keep the items of one draw under its name, in a file that is never written again."""
    file = folder / f"{name}.parquet"
    if not file.exists():
        write_parquet(file, items)
    return file


def read_items(folder: Path, labels: LabelSet) -> pa.Table:
    """All items that were ever drawn, each once, in the order of the draws' names.

    Raises:
        UserError: If a file is damaged, or its items are of other classes.
    """
    parts = [review_items_schema(labels).empty_table()]
    for file in sorted(folder.glob("*.parquet")):
        if (found := labels_of_file(file)) != labels:
            raise UserError(
                f"{file} holds review items of other classes ({found}) than {labels}; keep the "
                "review of each label set in a folder of its own (REVIEW_DIR)"
            )
        parts.append(read_parquet(file, review_items_schema(labels)))
    whole = pa.concat_tables(parts)
    first: dict[str, int] = {}
    for place, item_id in enumerate(whole["item_id"].to_pylist()):
        first.setdefault(item_id, place)
    return whole.take(pa.array(first.values(), pa.int64()))
