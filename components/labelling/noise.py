"""Suspected label noise: reviews whose label a model that has not seen them doubts."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.labelling.folds import (
    FewTexts,
    check_enough,
    folds_of,
    out_of_fold,
    sincere_classifier,
)
from components.shared.machine.files import read_parquet, write_json, write_parquet
from components.shared.machine.label_experiment import Change, Taught, Variant, compare_variants
from components.shared.machine.linear_text import tfidf
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.reviews import PREPARED_SCHEMA
from components.shared.records.suspects import suspects_schema
from components.shared.records.text import model_text

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

KEEP, DROP, RELABEL, AT_RANDOM = "keep all", "drop", "relabel", "drop at random"


@dataclass(frozen=True)
class NoiseSummary:
    """What was found, and what cleaning would do."""

    rows: int  # reviews looked at: training and validation, labelled by people
    suspects: int  # in both splits
    suspects_of_training: int  # those that the experiment drops or relabels
    pairs: list[dict[str, Any]]  # suspects by given and suggested class, the most frequent first
    validation_rows: int  # rows that the experiment is judged on
    experiment: list[dict[str, Any]]  # the variants, as `Change.to_dict` gives them
    verdict: str  # in one sentence
    reason: str  # why nothing was looked for; "" where it was

    @property
    def effects(self) -> Mapping[str, float]:
        """Change of macro-F1 by the name of each variant but the first."""
        return {one["name"]: one["difference"]["value"] for one in self.experiment[1:]}


@dataclass(frozen=True)
class _Rows:
    """The labelled rows of the training and the validation split."""

    table: pa.Table
    classes: NDArray[np.int64]  # [n]
    training: NDArray[np.bool_]  # [n] whether the row is one of the training part
    matrix: "csr_matrix"  # [n, words]
    texts: NDArray[np.int64]  # [n] number of its text: equal texts, equal numbers


def find_label_noise(
    prepared: str | Path, suspects: str | Path, summary: str | Path, seed: int = 42
) -> NoiseSummary:
    """Rank the reviews whose label is in doubt, and try whether cleaning helps.

    Confident learning (Northcutt et al. 2021): a row is a suspect if its given class is improbable
    by a model that was trained without it, judged by how sure that model is of each class where it
    is right. Rows of the training part are judged by folds of it, those of validation by the whole
    of it, and what validation holds has no say in what is suspected in training, so that the
    experiment is fair. The test split is left alone: it stays as people labelled it.

    Args:
        prepared: What prepare wrote.
        suspects: Where to write the suspects, `suspects_schema`, the most doubtful first.
        summary: Where to write the summary as JSON.
        seed: Seed of folds, models and random drops.

    Returns:
        The summary; with a reason and no suspects where the reviews are too few.
    """
    labels = labels_of_file(prepared)
    try:
        rows = _read(prepared, labels)
        probabilities = _probabilities(rows, len(labels), seed)
    except FewTexts as few:
        _write(suspects, [], labels)
        found = NoiseSummary(0, 0, 0, [], 0, [], f"Nothing was looked for: {few}.", str(few))
        write_json(summary, asdict(found))
        logger.info("%s", found.verdict)
        return found
    doubted = _doubted(rows, probabilities)
    changes = _experiment(rows, doubted, probabilities, len(labels), seed)
    ranked = _ranked(rows, doubted, probabilities, labels)
    pairs = Counter((row["given"], row["suggested"]) for row in ranked).most_common()
    found = NoiseSummary(
        rows=len(rows.classes),
        suspects=len(ranked),
        suspects_of_training=int((doubted & rows.training).sum()),
        pairs=[{"given": g, "suggested": s, "suspects": n} for (g, s), n in pairs],
        validation_rows=int((~rows.training).sum()),
        experiment=[change.to_dict() for change in changes],
        verdict=verdict_of(changes),
        reason="",
    )
    _write(suspects, ranked, labels)
    write_json(summary, asdict(found))
    logger.info("%d of %d labels are in doubt. %s", found.suspects, found.rows, found.verdict)
    return found


def verdict_of(changes: list[Change]) -> str:
    """In one sentence, whether cleaning helps."""
    by_name = {change.name: change for change in changes}
    return (
        f"Dropping the suspects {by_name[DROP].in_words}, giving them the suggested label "
        f"{by_name[RELABEL].in_words}; dropping as many of each class at random "
        f"{by_name[AT_RANDOM].in_words}."
    )


def _read(prepared: str | Path, labels: LabelSet) -> _Rows:
    """Texts, labels and features of the rows that may be looked at."""
    columns = ["review_id", "title", "review_body", "sentiment", "split", "label_source"]
    table = read_parquet(prepared, PREPARED_SCHEMA, columns)
    # Before anything else: no text or label of the test split goes any further.
    table = table.filter(
        pc.and_(pc.not_equal(table["split"], "test"), pc.not_equal(table["label_source"], "weak"))
    )
    texts = np.array(
        list(map(model_text, table["title"].to_pylist(), table["review_body"].to_pylist())), object
    )
    classes = labels.index_of(table["sentiment"].to_numpy())
    training = pc.equal(table["split"], "train").to_numpy()
    numbers = np.unique(texts, return_inverse=True)[1]
    check_enough(numbers[training], classes[training], labels.names)
    if training.all():
        raise FewTexts("the validation part is empty")
    try:
        matrix = tfidf().fit(texts[training]).transform(texts)
    except ValueError:  # as scikit-learn says that no word is left
        raise FewTexts("no two reviews have a word in common") from None
    return _Rows(table, classes, training, matrix.tocsr(), numbers)


def _probabilities(rows: _Rows, number: int, seed: int) -> NDArray[np.float64]:
    """Probability of each class [n, number] by models that were trained without the row."""
    training = rows.training
    made = np.zeros((len(training), number))
    matrix, classes = rows.matrix[training], rows.classes[training]
    folds = folds_of(rows.texts[training], classes, seed)
    made[training] = out_of_fold(matrix, classes, folds, number, seed)
    whole = sincere_classifier(seed).fit(matrix, classes)
    made[~training] = whole.predict_proba(rows.matrix[~training])
    return made


def _doubted(rows: _Rows, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the label of each row [n] is in doubt."""
    from cleanlab.filter import find_label_issues

    def issues(some: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return find_label_issues(
            rows.classes[some], probabilities[some], filter_by="both", n_jobs=1
        )

    doubted = issues(np.ones(len(rows.classes), bool))
    doubted[rows.training] = issues(rows.training)
    return doubted


def _experiment(
    rows: _Rows,
    doubted: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    number: int,
    seed: int,
) -> list[Change]:
    """Training on all rows, without the suspects, with other labels, and without as many others."""
    given = rows.classes[rows.training]
    suspects = doubted[rows.training]
    suggested = np.where(suspects, probabilities[rows.training].argmax(axis=1), given)

    def learn(kept: NDArray[np.int64], classes: NDArray[np.int64] = given) -> Taught:
        return Taught(kept, classes[kept], np.ones(len(kept)))

    def at_random(of_seed: int) -> Taught:
        # As many of each class: the suspects are most often of the rare ones.
        order = np.random.default_rng(of_seed).permutation(len(given))
        left = [
            order[given[order] == one][np.sum(suspects & (given == one)) :] for one in range(number)
        ]
        return learn(np.sort(np.concatenate(left)))

    everything = np.arange(len(given))
    ways: dict[str, Callable[[int], Taught]] = {
        KEEP: lambda _: learn(everything),
        DROP: lambda _: learn(np.flatnonzero(~suspects)),
        RELABEL: lambda _: learn(everything, suggested),
        AT_RANDOM: at_random,
    }
    held_out = ~rows.training
    matrices = rows.matrix[rows.training], rows.matrix[held_out]
    variants = {name: Variant(*matrices, teach) for name, teach in ways.items()}
    return compare_variants(variants, rows.classes[held_out], number, seed)


def _ranked(
    rows: _Rows,
    doubted: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    labels: LabelSet,
) -> list[dict[str, Any]]:
    """The suspects, the one with the least probable label first."""
    from cleanlab.rank import get_self_confidence_for_each_label

    confidence = get_self_confidence_for_each_label(rows.classes, probabilities)
    places = np.flatnonzero(doubted)
    places = places[np.argsort(confidence[places], kind="stable")]
    columns = ["review_id", "title", "review_body", "split"]
    known = rows.table.select(columns).take(pa.array(places)).to_pylist()
    return [
        row
        | {"rank": rank, "self_confidence": float(confidence[place])}
        | {"given": labels.names[rows.classes[place]]}
        | {"suggested": labels.names[probabilities[place].argmax()]}
        | {
            f"p_{name}": float(p)
            for name, p in zip(labels.names, probabilities[place], strict=True)
        }
        for rank, (place, row) in enumerate(zip(places, known, strict=True), start=1)
    ]


def _write(suspects: str | Path, ranked: list[dict[str, Any]], labels: LabelSet) -> None:
    write_parquet(suspects, pa.Table.from_pylist(ranked, schema=suspects_schema(labels)))
