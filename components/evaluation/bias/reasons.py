"""Why a bias metric is undefined, in words: what does not occur, and where."""

from collections.abc import Sequence

import numpy as np

from components.evaluation.bias import metrics
from components.evaluation.bias.kinds import Kinds

_ABSENT = {
    "rows": "there are no reviews",
    "actual": "class {name} does not occur",
    "not actual": "no class but {name} occurs",
    "predicted": "{name} is never predicted",
    "not predicted": "nothing but {name} is predicted",
    "false alarms": "{name} is never predicted wrongly",
}
"""By the count that would be divided by."""


def why_undefined(kinds: Kinds, metric: str, place: tuple[int, ...], classes: Sequence[str]) -> str:
    """What does not occur, so that a metric of a group (and class) cannot be computed.

    Args:
        kinds: The rows of a facet.
        metric: Its name in `Kinds.measured`.
        place: Index of the group, and of the class where the metric is of one.
        classes: Names of the classes.
    """
    inside = kinds.counts(kinds.rows * kinds.weight.astype(float))
    sides = {"in the group": inside, "outside the group": metrics.counts_outside(inside)}
    rate = metrics.RATES.get(metric)
    needed = ["rows", *([rate.below] if rate else [])]
    if metric == "DI":
        needed.append("predicted")
    group, of_class = place[0], place[1] if len(place) > 1 else 0
    for count in needed:
        for where, counts in sides.items():
            if counts[count][group, of_class] == 0:
                return f"{_ABSENT[count]} {where}".format(name=classes[of_class])
    if metric == "KL":
        absent = "actual" if kinds.truth is None else "predicted"
        there, elsewhere = (counts["predicted"][group] for counts in sides.values())
        lacking = int(np.argmax((there == 0) & (elsewhere > 0)))
        return f"{_ABSENT[absent]} in the group".format(name=classes[lacking])
    return f"in no stratum are there reviews with and without {classes[of_class]}"
