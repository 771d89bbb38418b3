"""Weak supervision: labels for reviews without a rating, by functions that vote."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.labelling.agreement import agreed_classes
from components.labelling.folds import FewTexts, check_enough, folds_of
from components.labelling.label_models import (
    LABEL_MODEL,
    MAJORITY,
    Decided,
    decided,
    function_figures,
    label_model_scores,
    majority_scores,
)
from components.labelling.rated_reviews import RatedReviews, rated_reviews, read_reviews
from components.labelling.voting import ABSTAIN, all_functions, label_matrix
from components.shared.machine.files import (
    read_parquet,
    replaced_when_whole,
    write_json,
    write_parquet,
)
from components.shared.machine.label_experiment import Change, Taught, Variant, compare_variants
from components.shared.machine.options import Options, option
from components.shared.records.labels import LabelSet
from components.shared.records.reviews import LABELLED_SCHEMA, REVIEW_SCHEMA, WEAK

logger = logging.getLogger(__name__)

WITHOUT, WITH = "ratings alone", "with weak labels"


@dataclass(frozen=True)
class WeakOptions(Options, called="weak label option"):
    """How to label; seed and shares have to be those of prepare."""

    seed: int = option(42, "seed of splits, folds and models", 0, 2**31 - 1)
    validation_share: float = option(0.1, "share of validation in each class, as in prepare")
    test_share: float = option(0.1, "share of test in each class, as in prepare")
    certainty: float = option(0.3, "least probability of a weak label", 0.0, 1.0)


@dataclass(frozen=True)
class WeakSummary:
    """What was labelled, by whom, and what it brings."""

    unrated: int  # reviews without a label
    weak: int  # reviews among them that got one
    verdict: str  # in one sentence
    reason: str = ""  # why nothing was labelled; "" where it was
    ratings: int = 0  # rated reviews of the training part, which the functions are compared with
    functions: list[dict[str, Any]] = field(default_factory=list)  # see `function_figures`
    coverage: float = 0.0  # share of the reviews with a vote
    methods: list[dict[str, Any]] = field(default_factory=list)  # scores of both on those ratings
    chosen: str = ""  # the method with the higher macro-F1
    classes: list[dict[str, Any]] = field(default_factory=list)  # weak labels beside the ratings
    validation_rows: int = 0  # rows that the experiment is judged on
    experiment: list[dict[str, Any]] = field(default_factory=list)  # see `Change`
    options: Mapping[str, Any] = field(default_factory=dict)


def label_weakly(
    reviews: str | Path,
    labelled: str | Path,
    summary: str | Path,
    options: WeakOptions | None = None,
    *,
    wanted: bool = True,
) -> WeakSummary:
    """Label reviews that have no rating, where labelling functions are sure enough together.

    The functions, and what is made of their votes, are judged by ratings that training may see;
    what the labels bring is judged on the validation split; the test split is left alone. Of each
    class as many are labelled, the surest first, as keeps the classes' shares among the ratings:
    functions find the frequent class far more easily, and it alone would drown the others.

    Args:
        reviews: What ingest wrote.
        labelled: Where to write the same rows, `LABELLED_SCHEMA`, some of them labelled now; where
            none is, the file as it was.
        summary: Where to write the summary as JSON.
        options: How to label; the defaults where None.
        wanted: Whether to label at all.

    Returns:
        The summary; with a reason where nothing was labelled.

    Raises:
        UserError: If a labelling function fails, or the rated reviews cannot be divided.
    """
    options = options or WeakOptions()
    unrated = read_parquet(reviews, REVIEW_SCHEMA, ["sentiment"])["sentiment"].null_count
    with replaced_when_whole(labelled) as draft:
        reason = "" if unrated else "each has a rating or a label already"
        reason = reason if wanted else "weak_labels is not set"
        try:
            if not reason:
                made, table = _labelled(reviews, options)
                write_parquet(draft, table)
        except FewTexts as few:
            reason = str(few)
        if reason:
            made = WeakSummary(unrated, 0, f"No review was labelled: {reason}.", reason)
            shutil.copyfile(reviews, draft)  # however many rows it has, in no memory
        write_json(summary, asdict(made))
    logger.info("%s", made.verdict)
    return made


def _labelled(reviews: str | Path, options: WeakOptions) -> tuple[WeakSummary, pa.Table]:
    """The summary, and the reviews with weak labels; `FewTexts` where there can be none."""
    table = read_reviews(reviews)
    rows = rated_reviews(table, options.seed, options.validation_share, options.test_share)
    made, labels = _label(rows, options)
    return made, _with_weak_labels(rows, *labels)


def _label(
    rows: RatedReviews, options: WeakOptions
) -> tuple[WeakSummary, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """The summary, and of each weak label its row in the table, its class and its probability."""
    labels, seed = rows.labels, options.seed
    truth = rows.classes[rows.training]
    numbers = rows.texts[rows.training]
    check_enough(numbers, truth, labels.names)
    # From here on: first the rated reviews of the training part, then those without a rating.
    asked = np.concatenate([rows.training, rows.unrated])
    rated = np.arange(len(asked)) < len(truth)
    matrix = rows.features(asked)
    agreed = agreed_classes(
        matrix[: len(asked)], np.flatnonzero(rated), truth, folds_of(numbers, truth, seed), seed
    )
    functions = all_functions()
    votes = label_matrix(_seen(rows, asked, agreed, labels), functions, labels)
    shares = np.bincount(truth, minlength=len(labels)) / len(truth)
    named = [(function.name, function.about) for function in functions]
    figures = function_figures(named, votes, rated, truth, shares)
    votes = votes[:, [figure["used"] for figure in figures]]
    if not votes.shape[1]:
        raise FewTexts("no labelling function is right more often than guessing would be")
    scores = {MAJORITY: majority_scores(votes, shares)}
    if (by_model := label_model_scores(votes, len(labels), seed)) is not None:
        scores[LABEL_MODEL] = by_model
    methods = [decided(name, each, votes, rated, truth) for name, each in scores.items()]
    best = max(methods, key=lambda method: method.macro_f1)
    weak = _surest(best, ~rated, shares, options.certainty)
    if not len(weak):
        raise FewTexts(
            "of one class or more no review is labelled with a probability of "
            f"{options.certainty:g} or more"
        )
    changes = _experiment(rows, asked, best, weak, seed)
    unrated = rows.table["sentiment"].null_count
    verdict = (
        f"{len(weak):,} of {unrated:,} reviews without a rating got a weak label; "
        f"training with them {changes[1].in_words} on {len(rows.validation):,} validation rows."
    )
    summary = WeakSummary(
        unrated=unrated,
        weak=len(weak),
        verdict=verdict,
        ratings=len(truth),
        functions=figures,
        coverage=float((votes != ABSTAIN).any(axis=1).mean()),
        methods=[
            {"name": method.name, "accuracy": method.accuracy, "macro_f1": method.macro_f1}
            | {"per_class": _named(method.per_class, labels)}
            for method in methods
        ],
        chosen=best.name,
        classes=_named(
            [
                {"ratings": int((truth == index).sum())}
                | {"weak": int((best.classes[weak] == index).sum())}
                | {"probability": _mean(best.probability[weak[best.classes[weak] == index]])}
                for index in range(len(labels))
            ],
            labels,
        ),
        validation_rows=len(rows.validation),
        experiment=[change.to_dict() for change in changes],
        options=options.to_dict(),
    )
    return summary, (asked[weak], best.classes[weak], best.probability[weak])


def _seen(
    rows: RatedReviews, asked: NDArray[np.int64], agreed: NDArray[np.int64], labels: LabelSet
) -> pa.Table:
    """What labelling functions see of some rows: everything but their labels."""
    hidden = ["rating", "sentiment", "label_source", "label_probability"]
    table = rows.table.drop_columns(hidden).take(pa.array(asked))
    table = table.append_column("text", pa.array(rows.model_texts[asked], pa.string()))
    names = np.array([*labels.names, None], object)
    return table.append_column("agreed", pa.array(names[agreed], pa.string())).combine_chunks()


def _surest(
    best: Decided, unrated: NDArray[np.bool_], shares: NDArray[np.float64], certainty: float
) -> NDArray[np.int64]:
    """Rows to label: of each class the surest, as many as keeps the classes' shares."""
    sure = unrated & (best.classes != ABSTAIN) & (best.probability >= certainty)
    found = [np.flatnonzero(sure & (best.classes == index)) for index in range(len(shares))]
    total = min(len(rows) / share for rows, share in zip(found, shares, strict=True))
    chosen = [
        rows[np.argsort(-best.probability[rows], kind="stable")][: round(total * share)]
        for rows, share in zip(found, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _experiment(
    rows: RatedReviews, asked: NDArray[np.int64], best: Decided, weak: NDArray[np.int64], seed: int
) -> list[Change]:
    """Training on the ratings alone, and with the weak labels by their probability.

    Each has the words of its own reviews: those that are not learned from would only be ballast.
    """
    truth = rows.classes[rows.training]
    known, both = np.arange(len(truth)), np.concatenate([np.arange(len(truth)), weak])
    classes = np.concatenate([truth, best.classes[weak]])
    weights = np.concatenate([np.ones(len(truth)), best.probability[weak]])

    def learn(places: NDArray[np.int64]) -> Variant:
        features = rows.features(asked[places])
        here = np.arange(len(places))
        taught = Taught(here, classes[: len(places)], weights[: len(places)])
        return Variant(features[: len(places)], features[len(places) :], lambda _: taught)

    variants = {WITHOUT: learn(known), WITH: learn(both)}
    return compare_variants(variants, rows.classes[rows.validation], len(rows.labels), seed)


def _with_weak_labels(
    rows: RatedReviews,
    places: NDArray[np.int64],
    classes: NDArray[np.int64],
    probability: NDArray[np.float64],
) -> pa.Table:
    """The table with weak labels at some places."""
    table = rows.table
    at = np.zeros(table.num_rows, bool)
    at[places] = True
    values, sure = np.zeros(table.num_rows, np.int32), np.zeros(table.num_rows)
    values[places], sure[places] = np.array(rows.labels.values)[classes], probability
    new = {"sentiment": values, "label_source": WEAK, "label_probability": sure}
    for name, value in new.items():
        column = value if isinstance(value, str) else pa.array(value)
        kind = LABELLED_SCHEMA.field(name)
        place = table.schema.get_field_index(name)
        changed = pc.if_else(pa.array(at), column, table[name]).cast(kind.type)
        table = table.set_column(place, kind, changed)
    return table


def _named(per_class: list[dict[str, Any]], labels: LabelSet) -> list[dict[str, Any]]:
    return [{"name": name} | one for name, one in zip(labels.names, per_class, strict=True)]


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
