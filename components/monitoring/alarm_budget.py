"""How sure a look has to be, so that chance alone alarms as often a year as one can live with."""

from dataclasses import dataclass

from components.shared.machine.errors import UserError

LARGEST_ALPHA = 0.05
"""Never looser than this, however few looks are taken."""


@dataclass(frozen=True)
class AlarmBudget:
    """False alarms that a year may have, and the looks that they are shared among.

    A daily look at 5 % would alarm 18 times a year on nothing. One false alarm in 365 looks asks
    each look to be wrong in 0.27 % of cases. Looks at windows that overlap are not independent, but
    the expected number of false alarms is the same.
    """

    alarms_per_year: float = 1.0
    looks_per_year: int = 365

    def __post_init__(self) -> None:
        if not 0 < self.alarms_per_year < float("inf"):
            raise UserError(f"alarms_per_year is {self.alarms_per_year:g}; give a number above 0")
        if self.looks_per_year < 1:
            raise UserError(f"looks_per_year is {self.looks_per_year}; give a number from 1 up")

    @property
    def alpha(self) -> float:
        """Probability that a look alarms although nothing changed."""
        return min(LARGEST_ALPHA, self.alarms_per_year / self.looks_per_year)


def holm(p_values: list[float]) -> list[float]:
    """P-values of a family of tests, corrected so that all together keep one alpha (Holm 1979).

    Whatever the tests have to do with each other, the probability that any true hypothesis gets a
    corrected p-value of at most alpha is at most alpha.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = largest
    return corrected
