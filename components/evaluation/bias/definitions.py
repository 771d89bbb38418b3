"""What each bias metric is called and says, in plain words for the page."""

from dataclasses import dataclass

_OUTSIDE = "outside the group minus in the group"


@dataclass(frozen=True)
class Definition:
    """What a metric says, whether it is of one class, and its value where nothing differs.

    None stands where no value says that nothing differs.
    """

    title: str
    meaning: str
    by_class: bool = True
    no_difference: float | None = 0.0


def _across(title: str, meaning: str, no_difference: float | None = 0.0) -> Definition:
    return Definition(title, meaning, False, no_difference)


DEFINITIONS: dict[str, Definition] = {
    "DPL": Definition(
        "difference in proportions of labels",
        f"Share of reviews with the class, {_OUTSIDE}. Above 0: the group has fewer.",
    ),
    "DPPL": Definition(
        "difference in proportions of predicted labels",
        f"Share of reviews for which the model answers the class, {_OUTSIDE}.",
    ),
    "CDDL": Definition(
        "conditional demographic disparity of labels",
        "The group's share of the reviews without the class minus its share of those with it, "
        "compared within the strata of another facet. Above 0: the group has fewer.",
    ),
    "CDDPL": Definition(
        "conditional demographic disparity of predicted labels",
        "The same of the model's answers.",
    ),
    "CI": _across(
        "class imbalance",
        "Rows outside the group minus rows in it, as a share of all: near 1 for a small group.",
        None,
    ),
    "KL": _across(
        "Kullback-Leibler divergence",
        "How badly the group's class shares describe those outside it, in nats; never below 0.",
    ),
    "JS": _across(
        "Jensen-Shannon divergence",
        "How far both lie from their mean, in nats: 0 to 0.69.",
    ),
    "Lp": _across(
        "L2 norm", "Euclidean distance between the class shares in and outside the group."
    ),
    "TVD": _across(
        "total variation distance",
        "Share of the group's reviews that would need another class for the shares to be equal.",
    ),
    "KS": _across(
        "Kolmogorov-Smirnov distance", "Largest difference in the share of a single class."
    ),
    "DI": Definition(
        "disparate impact",
        "Share of the answer in the group divided by that outside it; 1 where nothing differs.",
        no_difference=1.0,
    ),
    "AD": Definition(
        "accuracy difference",
        f"Accuracy {_OUTSIDE}; by class, whether the class is distinguished from the rest.",
    ),
    "RD": Definition(
        "recall difference", f"Share of the class's reviews that are recognised, {_OUTSIDE}."
    ),
    "SD": Definition(
        "specificity difference",
        "Share of the other classes' reviews that are not taken for the class, in the group minus "
        "outside it.",
    ),
    "DAR": Definition(
        "difference in acceptance rates", f"Precision: right among those answered so, {_OUTSIDE}."
    ),
    "DRR": Definition(
        "difference in rejection rates",
        "Right among those not answered so, in the group minus outside it.",
    ),
    "DCA": Definition(
        "difference in conditional acceptance",
        f"Reviews of the class for each one answered so, {_OUTSIDE}.",
    ),
    "DCR": Definition(
        "difference in conditional rejection",
        "Reviews without the class for each one not answered so, in the group minus outside it.",
    ),
    "TE": Definition(
        "treatment equality",
        "Reviews of the class that are missed for each false alarm, in the group minus outside it.",
    ),
    "GE": Definition(
        "generalised entropy",
        "How unequally misses and false alarms fall on the reviews of the group; 0 without errors.",
        no_difference=None,
    ),
}
"""By the name that Clarify and the summary use; `AD` is also given for all classes at once."""
