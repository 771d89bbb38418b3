"""How much may be tried: candidates, seconds for each, seconds in all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from components.automl.candidate import Candidate
from components.shared.machine.options import Options, option

_RESERVE, _MOST_RESERVED = 0.25, 300.0
"""Share of the time in all that is left to what follows the search: evaluation, export, check. It
grows no further than the seconds."""

_FURTHER_TRIALS = 0.1
"""Share of the time left that a candidate may spend on trials after its first."""


@dataclass(frozen=True)
class Budget(Options, called="budget"):
    """The limits of a search; their names are those of SageMaker Autopilot's."""

    max_candidates: int = option(20, "trials of all candidates together", 1, 10_000)
    max_seconds_per_candidate: float = option(
        0.0, "seconds that one trial may take; 0: as many as are left", 0.0, 1e7
    )
    max_seconds: float = option(
        1200.0,
        "seconds for the whole run, of which a quarter, at most 300, go to assessment",
        1.0,
        1e7,
    )

    def deadline(self, now: float) -> float:
        """When the last candidate has to be done, if the run begins now (a time of `time.time`)."""
        return now + self.max_seconds - min(_RESERVE * self.max_seconds, _MOST_RESERVED)

    def trials(self, candidates: Mapping[str, Candidate]) -> dict[str, int]:
        """How many trials each candidate has: the first of each, cheapest first, then in turn."""
        left, counts = self.max_candidates, dict.fromkeys(candidates, 0)
        for name in candidates:
            if left:
                counts[name], left = 1, left - 1
        searched = [name for name, one in candidates.items() if one.searched]
        for place in range(left if searched else 0):
            counts[searched[place % len(searched)]] += 1
        return counts

    def refusal(self, estimate: float, left: float) -> str:
        """Why a trial that takes about so many seconds is not begun; '' if it is."""
        if left <= 0:
            return "the time was over before it could begin"
        if estimate > left:
            return f"needs about {shown(estimate)}, and {shown(left)} were left"
        if 0 < self.max_seconds_per_candidate < estimate:
            limit = shown(self.max_seconds_per_candidate)
            return f"needs about {shown(estimate)}, and a candidate may take {limit}"
        return ""

    def ends(self, now: float, deadline: float) -> float:
        """When a trial that begins now has to be done."""
        return min(deadline, now + (self.max_seconds_per_candidate or math.inf))

    def further(self, now: float, deadline: float) -> float:
        """Until when a candidate that begins now may start trials after its first."""
        return now + _FURTHER_TRIALS * (deadline - now)


def shown(seconds: float) -> str:
    """Seconds as people write them."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min"
