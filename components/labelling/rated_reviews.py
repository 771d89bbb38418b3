"""The reviews that ingest wrote, as weak supervision may see them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.labelling.folds import FewTexts
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.machine.linear_text import tfidf
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.reviews import LABELLED_SCHEMA, REVIEW_SCHEMA, with_label_source
from components.shared.records.splits import (
    TRAIN,
    VALIDATION,
    assign_splits,
    keyed_order,
    text_identity,
)
from components.shared.records.text import clean_text, model_text

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class RatedReviews:
    """All reviews, and which of them may be used for what; the test split may not be used."""

    table: pa.Table  # [n] in `LABELLED_SCHEMA`
    labels: LabelSet
    classes: NDArray[np.int64]  # [n] class index; -1 without a label
    texts: NDArray[np.int64]  # [n] number of its text: equal texts, equal numbers
    model_texts: NDArray[np.object_]  # [n] title and body as the model reads them
    training: NDArray[np.int64]  # rows with a rating that prepare will put into train
    validation: NDArray[np.int64]  # rows of the validation split
    unrated: NDArray[np.int64]  # rows without a label whose text nobody in validation or test has

    def features(self, asked: NDArray[np.int64]) -> "csr_matrix":
        """Features of some rows, and below them those of the validation split.

        Raises:
            FewTexts: If no word stands in two of the texts.
        """
        words = tfidf()
        try:
            words.fit(self.model_texts[asked])
        except ValueError:  # as scikit-learn says that no word is left
            raise FewTexts("no two reviews have a word in common") from None
        every = np.concatenate([asked, self.validation])
        return words.transform(self.model_texts[every]).tocsr()


def read_reviews(reviews: str | Path) -> pa.Table:
    """What ingest wrote, in `LABELLED_SCHEMA` and with its label set."""
    labels = labels_of_file(reviews)
    table = with_label_source(read_parquet(reviews, REVIEW_SCHEMA), labels)
    return table.cast(labels.on(LABELLED_SCHEMA))


def rated_reviews(
    table: pa.Table, seed: int, validation_share: float, test_share: float
) -> RatedReviews:
    """Divide the reviews with a rating, as prepare will with the same seed and shares.

    Raises:
        UserError: If no review has a label, or the labelled ones cannot be divided.
    """
    labels = LabelSet.of(table.schema)
    bodies = [clean_text(body) for body in table["review_body"].to_pylist()]
    there = np.array([bool(body) for body in bodies], bool)
    known = there & table["sentiment"].is_valid().to_numpy()
    if not known.any():
        raise UserError(
            f"none of the {table.num_rows} reviews has a rating or a sentiment; labelling "
            "functions are judged by some that have, so rate a few hundred"
        )
    classes = labels.index_of(table["sentiment"].fill_null(labels.values[0]).to_numpy())
    classes[~known] = -1
    texts = np.array([keyed_order(text_identity(body), seed) for body in bodies], np.uint64)
    shares = {"validation_share": validation_share, "test_share": test_share}
    splits = np.full(len(texts), -1)
    splits[known] = assign_splits(texts[known], classes[known].astype(np.int8), labels, **shares)
    held_out = np.isin(texts, texts[known & (splits != TRAIN)])
    titles = table["title"].to_pylist()
    return RatedReviews(
        table=table,
        labels=labels,
        classes=classes,
        texts=np.unique(texts, return_inverse=True)[1],
        model_texts=np.array(list(map(model_text, titles, bodies)), object),
        training=np.flatnonzero(splits == TRAIN),
        validation=np.flatnonzero(splits == VALIDATION),
        unrated=np.flatnonzero(there & ~known & ~held_out),
    )
