"""What a candidate is: a way to make a model of a text table, with what may be varied about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.automl.task import Task
from components.shared.machine.search_space import Parameter, SearchSpace, Value

Fit = Callable[[Task, Mapping[str, Any], int, float, Path], None]
"""Makes a model folder: of a task, with parameters and a seed, before a time (of `time.time`)."""


@dataclass(frozen=True)
class Candidate:
    """A way to make a model.

    Attributes:
        name: In lower case with underscores; of the command and of the table.
        about: What it is, in a few words.
        cost: Its place in the order in which they are begun: 1 for seconds, 2 for a minute, 3 for
            more.
        first: Parameters of the first trial.
        searched: What the others vary; without any there is one trial.
        estimate: Seconds that a trial of the task takes, measured or calculated in a few seconds.
        fit: Trains with all parameters, and writes the model folder.
    """

    name: str
    about: str
    cost: int
    first: Mapping[str, Value]
    searched: tuple[Parameter, ...]
    estimate: Callable[[Task], float]
    fit: Fit

    @property
    def space(self) -> SearchSpace:
        """What is searched, as tuning describes it."""
        return SearchSpace(self.searched, "macro_f1", maximize=True, random_state=None)


class OutOfTimeError(Exception):
    """A trial was given up because its time was over."""


def measured(fit: Fit, first: Mapping[str, Value], rows: int = 1000) -> Callable[[Task], float]:
    """An estimate for a candidate whose time grows with the rows: a fit of a few of them."""
    import math
    import tempfile
    import time

    def estimate(task: Task) -> float:
        few = task.first(rows)
        with tempfile.TemporaryDirectory() as workshop:
            # The first fit imports libraries, which the others do not do again.
            fit(task.first(20), first, 0, math.inf, Path(workshop) / "warm")
            started = time.perf_counter()
            fit(few, first, 0, math.inf, Path(workshop) / "model")
            return (time.perf_counter() - started) * len(task.training) / len(few.training)

    return estimate
