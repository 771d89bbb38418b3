"""Is the new model worse than the champion? Both judged on the same rows.

The rule, stated once: the verdict rests on the difference of macro-F1, new minus champion.
It is **worse** where the difference is below minus the margin; **better** where the whole 95 %
interval of the difference lies above zero; **not worse** otherwise. A small loss inside the margin
does not stop a model that was trained on fresher data, and noise alone does not make one better.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.intervals import (
    RESAMPLES,
    Estimate,
    percentile_interval,
    resampled_counts,
)
from components.evaluation.metrics import scores_of

BETTER = "better"
NOT_WORSE = "not worse"
WORSE = "worse"
NO_CHAMPION = "no champion"


def verdict_of(difference: Estimate, margin: float) -> str:
    """`better`, `not worse` or `worse` by the rule of this module.

    Args:
        difference: Macro-F1 of the new model minus that of the champion.
        margin: Loss of macro-F1 that is let pass, e.g. 0.01; at least 0.
    """
    if difference.value < -margin:
        return WORSE
    return BETTER if difference.low > 0 else NOT_WORSE


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of the new model with the champion."""

    verdict: str  # by the rule of this module
    margin: float  # the margin that the verdict used
    macro_f1: Estimate  # difference of macro-F1, new minus champion, with its paired interval
    accuracy: Estimate  # difference of accuracy, likewise
    only_new_right: int  # rows that only the new model decides rightly
    only_champion_right: int  # rows that only the champion decides rightly
    p_value: float  # exact two-sided McNemar test of equal accuracy
    significant: bool  # whether the interval of the macro-F1 difference leaves out 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "verdict": self.verdict,
            "margin": self.margin,
            "macro_f1_difference": self.macro_f1.to_dict(),
            "accuracy_difference": self.accuracy.to_dict(),
            "only_new_right": self.only_new_right,
            "only_champion_right": self.only_champion_right,
            "mcnemar_p_value": self.p_value,
            "significant": self.significant,
        }


def mcnemar_p_value(only_first_right: int, only_second_right: int) -> float:
    """Exact two-sided McNemar test (McNemar 1947): is either of two models right more often?

    Under the null hypothesis each row that only one of them gets right falls to either with equal
    chance, so the counts are binomial with p = 1/2.

    Args:
        only_first_right: Rows that only the first model decides rightly.
        only_second_right: Rows that only the second model decides rightly.

    Returns:
        The p-value; 1 where the models are right on the same rows.
    """
    from scipy.stats import binomtest

    discordant = only_first_right + only_second_right
    if discordant == 0:
        return 1.0
    return float(binomtest(only_first_right, discordant, 0.5).pvalue)


def compare(
    truth: NDArray[np.int64],
    new: NDArray[np.int64],
    champion: NDArray[np.int64],
    classes: int,
    margin: float,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two models' decisions on the same rows.

    Args:
        truth: True class index [n], at least one row.
        new: The new model's class index [n].
        champion: The champion's class index [n].
        classes: Number of classes.
        margin: Loss of macro-F1 that is let pass, at least 0.
        resamples: Number of paired bootstrap samples.
        seed: Of the draws.

    Returns:
        The comparison with its verdict.
    """
    kinds = np.bincount((truth * classes + new) * classes + champion, minlength=classes**3)
    counts = kinds.reshape(classes, classes, classes)  # [truth, new, champion]
    present = counts.sum(axis=(1, 2)) > 0

    def differences(cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        of_new = scores_of(cells.sum(axis=-1), present)
        of_champion = scores_of(cells.sum(axis=-2), present)
        return of_new.macro_f1 - of_champion.macro_f1, of_new.accuracy - of_champion.accuracy

    macro_f1, accuracy = differences(counts)
    drawn_macro_f1, drawn_accuracy = differences(resampled_counts(counts, resamples, seed))
    difference = Estimate(float(macro_f1), *percentile_interval(drawn_macro_f1))
    only_new = int(((new == truth) & (champion != truth)).sum())
    only_champion = int(((new != truth) & (champion == truth)).sum())
    return Comparison(
        verdict=verdict_of(difference, margin),
        margin=margin,
        macro_f1=difference,
        accuracy=Estimate(float(accuracy), *percentile_interval(drawn_accuracy)),
        only_new_right=only_new,
        only_champion_right=only_champion,
        p_value=mcnemar_p_value(only_new, only_champion),
        significant=difference.low > 0 or difference.high < 0,
    )
