"""Whether what people corrected was worth its price: an experiment on the frozen test set.

The cheap linear model is trained on the labels as they were, on the corrected ones, and by two ways
that cost less: asking about as many reviews at random, and dropping the suspects without asking
anybody. An honest report has both, for either may do as well.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.files import read_parquet, write_json
from components.shared.machine.label_experiment import Change, Taught, Variant, compare_variants
from components.shared.machine.linear_text import linear_classifier, tfidf
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.reviews import PREPARED_SCHEMA, TRAINING_SET_SCHEMA, WEAK
from components.shared.records.text import model_text
from components.shared.statistics.paired import mcnemar_p_value, paired_differences

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

BEFORE, CORRECTED, WITH_LIVE = "labels as given", "corrected by people", "with live reviews too"
AT_RANDOM, DROPPED = "as many at random", "suspects dropped"

FEWEST_CHANGED = 20
"""Fewer changed labels are no slice to judge on."""

FOLDS = 5

ALPHA = 1e-5
"""Regularisation of the linear model: that with the best macro-F1 on the course's reviews as they
are. With ten times as much it hardly notices errors in its labels, as no network would."""


@dataclass(frozen=True)
class Price:
    """What the votes took."""

    votes: int
    seconds: float  # of a vote
    wage: float  # of an hour

    @property
    def total(self) -> float:
        """What all votes cost."""
        return self.votes * self.seconds / 3600 * self.wage


@dataclass(frozen=True)
class Corrected:
    """The training rows before and after people looked at some, and the test rows that judge."""

    training: "csr_matrix"  # [n, words]
    given: NDArray[np.int64]  # [n] class index before
    after: NDArray[np.int64]  # [n] class index after
    reviewed: NDArray[np.bool_]  # [n] whether people were asked about the row's label
    live: NDArray[np.bool_]  # [n] whether the row is a live review that people labelled
    weights: NDArray[np.float64]  # [n]
    test: "csr_matrix"  # [t, words]
    truth: NDArray[np.int64]  # [t]
    classes: int

    @property
    def changed(self) -> NDArray[np.bool_]:
        """[n] whether people gave the row another label."""
        return self.reviewed & (self.given != self.after)


def report_corrections(
    prepared: str | Path,
    training_set: str | Path,
    summary: str | Path,
    price: Price,
    network: Mapping[str, Any],
    seed: int = 42,
) -> dict[str, Any]:
    """Compare training with and without the corrections, and write what came of it.

    Args:
        prepared: What prepare wrote: texts and labels as the data give them.
        training_set: What was learned from: the labels as the feature store has them now.
        summary: Where to write the result as JSON.
        price: Of the votes.
        network: How the trained model compares with the one before it on the same test rows, as the
            evaluation tells (`champion`); the experiment here is with the linear model.
        seed: Of the models and of what is drawn at random.

    Returns:
        The summary; with a reason and no experiment where nothing was corrected.
    """
    labels = labels_of_file(prepared)
    rows = read_corrected(prepared, training_set, labels)
    found: dict[str, Any] = {
        "reviewed": int(rows.reviewed.sum()),
        "changed": int(rows.changed.sum()),
        "live": int(rows.live.sum()),
        "training_rows": int((~rows.live).sum()),
        "test_rows": len(rows.truth),
        "votes": price.votes,
        "price": price.total,
        "network": network_of(network),
        "reason": "",
    }
    if not (rows.changed.any() or rows.live.any()):
        found |= {"reason": "no label of the training data was corrected", "experiment": []}
        found |= {"slice": None, "price_per_point": None}
        found["verdict"] = f"There is nothing to compare: {found['reason']}."
    else:
        changes = compare_variants(variants_of(rows), rows.truth, rows.classes, seed, ALPHA)
        found |= {"experiment": [change.to_dict() for change in changes]}
        found |= {"slice": changed_slice(rows, seed), **verdict_of(changes, price.total)}
    write_json(summary, found)
    logger.info("%s", found["verdict"])
    return found


def read_corrected(prepared: str | Path, training_set: str | Path, labels: LabelSet) -> Corrected:
    """The rows of both files, with the features of the linear model; weak labels are left out."""
    columns = ["review_id", "title", "review_body", "sentiment", "split", "label_source", "weight"]
    table = read_parquet(prepared, PREPARED_SCHEMA, columns)
    wanted = ["review_id", "sentiment", "label_source"]
    learned = read_parquet(training_set, TRAINING_SET_SCHEMA, wanted).to_pylist()
    now = {row["review_id"]: row for row in learned}
    rows = [row for row in table.to_pylist() if row["label_source"] != WEAK]
    training = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"]
    live = np.array([row["label_source"] == "reviewer" for row in training], bool)
    texts = np.array([model_text(row["title"], row["review_body"]) for row in training], object)
    words = tfidf().fit(texts[~live])
    latest = [now.get(row["review_id"], row) for row in training]
    return Corrected(
        training=words.transform(texts).tocsr(),
        given=labels.index_of(np.array([row["sentiment"] for row in training])),
        after=labels.index_of(np.array([row["sentiment"] for row in latest])),
        reviewed=np.array([row["label_source"] == "reviewer" for row in latest], bool) & ~live,
        live=live,
        weights=np.array([row["weight"] for row in training]),
        test=words.transform(
            [model_text(row["title"], row["review_body"]) for row in test]
        ).tocsr(),
        truth=labels.index_of(np.array([row["sentiment"] for row in test])),
        classes=len(labels),
    )


def variants_of(rows: Corrected) -> dict[str, Variant]:
    """The ways to train, the first of which asks nobody."""
    own, share = np.flatnonzero(~rows.live), rows.reviewed.sum() / max(1, (~rows.live).sum())

    def learn(some: NDArray[np.int64], classes: NDArray[np.int64]) -> Taught:
        return Taught(some, classes[some], rows.weights[some])

    def at_random(seed: int) -> Taught:
        # Asking about a row at random finds an error with the share of rows that are asked about.
        # Errors that nobody has found yet would be found as well: they cannot be counted here.
        lucky = np.random.default_rng(seed).random(len(rows.given)) < share
        return learn(own, np.where(rows.changed & lucky, rows.after, rows.given))

    ways: dict[str, Callable[[int], Taught]] = {BEFORE: lambda _: learn(own, rows.given)}
    if rows.reviewed.any():
        ways[CORRECTED] = lambda _: learn(own, rows.after)
    if rows.live.any():
        ways[WITH_LIVE] = lambda _: learn(np.arange(len(rows.given)), rows.after)
    if rows.reviewed.any():
        ways[AT_RANDOM] = at_random
        ways[DROPPED] = lambda _: learn(np.flatnonzero(~rows.live & ~rows.reviewed), rows.given)
    return {name: Variant(rows.training, rows.test, teach) for name, teach in ways.items()}


def changed_slice(rows: Corrected, seed: int) -> dict[str, Any] | None:
    """How the linear model answers rows whose label people changed, by what they say of them.

    No row is judged by a model that has learned from it, under either label.
    """
    places = np.flatnonzero(rows.changed)
    if len(places) < FEWEST_CHANGED:
        return None
    fold = np.random.default_rng(seed).permutation(len(places)) % FOLDS
    answers = {name: np.zeros(len(places), np.int64) for name in (BEFORE, CORRECTED)}
    for number in range(FOLDS):
        judged = places[fold == number]
        kept = np.setdiff1d(np.flatnonzero(~rows.live), judged)
        for name, classes in ((BEFORE, rows.given), (CORRECTED, rows.after)):
            model = linear_classifier(seed, ALPHA).fit(rows.training[kept], classes[kept])
            answers[name][fold == number] = model.predict(rows.training[judged])
    truth, before, after = rows.after[places], answers[BEFORE], answers[CORRECTED]
    macro_f1, accuracy = paired_differences(truth, after, before, rows.classes)
    only_after = int(((after == truth) & (before != truth)).sum())
    only_before = int(((after != truth) & (before == truth)).sum())
    return {
        "rows": len(places),
        "accuracy_before": float((before == truth).mean()),
        "accuracy_after": float((after == truth).mean()),
        "accuracy_difference": accuracy.to_dict(),
        "macro_f1_difference": macro_f1.to_dict(),
        "p_value": mcnemar_p_value(only_after, only_before),
    }


def network_of(champion: Mapping[str, Any]) -> dict[str, Any] | None:
    """The trained model against the one before it, where there was one."""
    if "macro_f1_difference" not in champion:
        return None
    names = ("macro_f1_difference", "accuracy_difference", "mcnemar_p_value", "verdict")
    return {name: champion[name] for name in names}


def verdict_of(changes: list[Change], price: float) -> dict[str, Any]:
    """In a sentence whether it helped, whether less would have done, and the price of a point."""
    by_name = {change.name: change for change in changes}
    best = by_name.get(WITH_LIVE) or by_name[CORRECTED]
    gained = 100 * best.difference.value
    cost = price / gained if best.verdict == "helps" and price else None
    others = [by_name[name] for name in (AT_RANDOM, DROPPED) if name in by_name]
    as_good = [one.name for one in others if one.macro_f1 >= best.macro_f1]
    verdict = f"Training on what people say {best.in_words}"
    if as_good:
        verdict += f"; {' and '.join(as_good)} did no worse, and cost less"
    if cost is not None:
        verdict += f"; a point of macro-F1 cost {cost:.2f}"
    return {"verdict": f"{verdict}.", "price_per_point": cost}
