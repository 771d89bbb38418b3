"""From several votes on an item to one label with a probability, and who only clicks.

Where each person voted often enough to be judged, Dawid-Skene weighs the votes by each person's
confusion matrix (Dawid & Skene 1979); else the majority counts. Models with one number for each
person are not used: beside somebody who always gives the same answer they fail.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.review.counting import Votes

MAJORITY, DAWID_SKENE = "majority", "Dawid-Skene"

VOTES_PER_CLASS = 10
"""Votes of each person, for each class, from which on confusion matrices are worth estimating."""

LEAST_OF_CLASS = 5
"""Items of a class that a person must have seen for the row of that class to count."""

LAZY_BELOW = 0.3
"""Informedness below which somebody's answers say too little of the text; guessing has 0."""

_ERRORS = 1.645
"""Standard errors that it must stay below that, so that chance accuses nobody: 95 % one-sided."""


@dataclass(frozen=True)
class Reviewer:
    """One person's votes against what the others said."""

    person: str  # pseudonym
    votes: int
    most: str  # the most frequent answer
    most_share: float  # its share
    informedness: float | None  # 1: always as the others, 0: whatever they say; None: too few
    lazy: bool  # left out, because the answers do not depend on the text
    confusion: list[list[int]]  # [label by the others, answer]

    @property
    def in_words(self) -> str:
        """Why somebody was left out, in one sentence."""
        return (
            f"reviewer {self.person} gives {self.most!r} in {self.most_share:.0%} of "
            f"{self.votes} votes, whatever the others say: these votes are left out"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return facts | ({"in_words": self.in_words} if self.lazy else {})


def reviewers_of(votes: Votes, names: tuple[str, ...]) -> list[Reviewer]:
    """Judge each person, and find those who click without reading, the worst first.

    Whoever is found is taken out before the others are judged again: two votes of three must not be
    judged by the third.

    Args:
        votes: Those of a class.
        names: Class names.
    """
    lazy: list[int] = []
    while True:
        matrices = {
            person: _against_the_others(votes, person, lazy) for person in range(len(votes.people))
        }
        found = [
            (value, person)
            for person, matrix in matrices.items()
            if person not in lazy and (value := _surely_below(matrix)) is not None
        ]
        if not found:
            break
        lazy.append(min(found)[1])
    return [
        _reviewer(votes, person, matrix, names, lazy=person in lazy)
        for person, matrix in matrices.items()
    ]


def informedness(matrix: NDArray[np.int64]) -> tuple[float, float] | None:
    """Mean recall beyond guessing, with its standard error; None where fewer than 2 classes count.

    Rows that are all alike give 0, whatever the one answer is; agreeing always gives 1.

    Args:
        matrix: [classes, classes] label by the others, answer.
    """
    seen = matrix.sum(axis=1)
    rows = np.flatnonzero(seen >= LEAST_OF_CLASS)
    if len(rows) < 2:
        return None
    recall = matrix[rows, rows] / seen[rows]
    # One more of each kind: who was always right five times may err the sixth.
    smooth = (matrix[rows, rows] + 1) / (seen[rows] + 2)
    spread = np.sqrt((smooth * (1 - smooth) / seen[rows]).sum()) / len(rows)
    scale = 1 - 1 / len(rows)
    return float((recall.mean() - 1 / len(rows)) / scale), float(spread / scale)


def _surely_below(matrix: NDArray[np.int64]) -> float | None:
    """The informedness of a person whose answers surely say too little; None of anybody else."""
    found = informedness(matrix)
    return found[0] if found and found[0] + _ERRORS * found[1] < LAZY_BELOW else None


def _against_the_others(votes: Votes, person: int, left_out: list[int]) -> NDArray[np.int64]:
    """Label by the others' majority and answer of a person, counted; ties are passed over."""
    own = votes.person == person
    others = votes.only(~own & ~np.isin(votes.person, left_out)).table()
    best = others.max(axis=1)
    clear = (best > 0) & ((others == best[:, None]).sum(axis=1) == 1)
    used = own & clear[votes.item]
    truth = others.argmax(axis=1)[votes.item[used]]
    cells = np.bincount(truth * votes.classes + votes.answer[used], minlength=votes.classes**2)
    return cells.reshape(votes.classes, votes.classes)


def _reviewer(
    votes: Votes, person: int, matrix: NDArray[np.int64], names: tuple[str, ...], *, lazy: bool
) -> Reviewer:
    given = np.bincount(votes.answer[votes.person == person], minlength=votes.classes)
    total, found = int(given.sum()), informedness(matrix)
    return Reviewer(
        person=votes.people[person],
        votes=total,
        most=names[given.argmax()] if total else "",
        most_share=float(given.max() / max(1, total)),
        informedness=found[0] if found else None,
        lazy=lazy,
        confusion=matrix.tolist(),
    )


def probabilities(votes: Votes, error: float) -> tuple[NDArray[np.float64], str]:
    """Probability of each class of each item [items, classes], and the method.

    Args:
        votes: Those that count, of a class; items without any get the same for each class.
        error: How often a person errs where the votes are too few to estimate it.
    """
    if _allow_confusion_matrices(votes):
        return _dawid_skene(votes), DAWID_SKENE
    return _by_majority(votes.table(), error), MAJORITY


def _allow_confusion_matrices(votes: Votes) -> bool:
    """Whether two persons or more voted, and each often enough to be judged."""
    each = np.bincount(votes.person, minlength=len(votes.people))
    each = each[each > 0]
    twice = (votes.table().sum(axis=1) >= 2).sum()
    enough = VOTES_PER_CLASS * votes.classes
    return len(each) >= 2 and each.min() >= enough and twice >= enough


def _dawid_skene(votes: Votes) -> NDArray[np.float64]:
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    frame = pd.DataFrame({"task": votes.item, "worker": votes.person, "label": votes.answer})
    made = np.full((len(votes.items), votes.classes), 1 / votes.classes)
    found = DawidSkene(n_iter=100).fit_predict_proba(frame)
    made[found.index] = 0.0
    made[np.ix_(found.index, found.columns)] = found.to_numpy()
    return made


def _by_majority(counts: NDArray[np.int64], error: float) -> NDArray[np.float64]:
    """By Bayes' rule for persons who all err at one rate, each wrong class as likely."""
    classes = counts.shape[1]
    wrong = max(error, 1e-6) / (classes - 1)
    logits = counts * (np.log(1 - error) - np.log(wrong))
    made = np.exp(logits - logits.max(axis=1, keepdims=True))
    return made / made.sum(axis=1, keepdims=True)
