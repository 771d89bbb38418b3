"""The answers of a window that people checked: resolved labels joined with the log."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.monitoring.live_accuracy import Audited, live_accuracy
from components.monitoring.window import ServedModel, Window
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet
from components.shared.records.monitoring_summary import Accuracy
from components.shared.records.resolved_labels import read_resolved
from components.shared.records.review_items import DRAWN, item_id_of


def read_labels(place: str, model: ServedModel, class_names: tuple[str, ...]) -> dict[str, tuple]:
    """Class name and inclusion probability of each item that was drawn from the version's answers.

    Args:
        place: Resolved labels, a file or the folder of the review; "" for none.
        model: The version.
        class_names: Its classes.

    Returns:
        By item id; without what was withdrawn, and without items that were not drawn at random.

    Raises:
        UserError: If there is nothing at the place, or the labels are of other classes.
    """
    if not place:
        return {}
    rows = read_resolved(place)
    drawn = pc.and_(pc.is_in(rows["queue"], pa.array(DRAWN)), pc.greater(rows["votes"], 0))
    of_version = pc.and_(
        pc.equal(rows["model_name"], model.name), pc.equal(rows["model_version"], model.version)
    )
    rows = rows.filter(pc.fill_null(pc.and_(drawn, of_version), False))
    labels = LabelSet.of(rows.schema)
    if len(rows) and labels.names != class_names:
        raise UserError(
            f"{place} holds labels of the classes {', '.join(labels.names)}, but version "
            f"{model.version} answers {', '.join(class_names)}; name the labels of its classes"
        )
    names = dict(zip(labels.values, labels.names, strict=True))
    return {
        row["item_id"]: (names.get(row["sentiment"]), row["inclusion_probability"])
        for row in rows.select(["item_id", "sentiment", "inclusion_probability"]).to_pylist()
        if 0 < row["inclusion_probability"] <= 1
    }


def accuracies(window: Window, labels: dict[str, tuple]) -> tuple[Accuracy | None, list[Accuracy]]:
    """Live accuracy of the whole window, and of each ISO week of it that has enough labels."""
    answers = window.answers
    confidence = answers["confidence"].to_numpy()
    keys = [
        item_id_of(review_id, digest)
        for review_id, digest in zip(
            answers["review_id"].to_pylist(), answers["text_sha256"].to_pylist(), strict=True
        )
    ]
    known = np.array([key in labels for key in keys], bool)
    weeks = np.array([week_of(moment) for moment in answers["time"].to_pylist()], object)
    answered = answers["label"].to_pylist()

    def estimate(some: NDArray[np.bool_], week: str = "") -> Accuracy | None:
        places = np.flatnonzero(some & known)
        _, first, repeats = np.unique(
            np.array([keys[place] for place in places], object).astype(str),
            return_index=True,
            return_counts=True,
        )
        firsts = places[first]
        return live_accuracy(
            confidence[some],
            Audited(
                answers=repeats,
                confidence=confidence[firsts],
                correct=np.array([answered[p] == labels[keys[p]][0] for p in firsts], bool),
                inclusion=np.array([labels[keys[p]][1] for p in firsts], float),
            ),
            week,
        )

    by_week = [estimate(weeks == week, week) for week in sorted(set(weeks))]
    return estimate(np.ones(len(keys), bool)), [one for one in by_week if one]


def week_of(moment: datetime) -> str:
    """ISO week of a time in UTC, such as 2026-W47."""
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"
