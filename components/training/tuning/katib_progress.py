"""An Experiment while it runs: what to tell of it, and what it has come to."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from components.shared.kubernetes.launch import condition
from components.shared.kubernetes.objects import Objects
from components.shared.machine.errors import UserError
from components.training.tuning.experiment import SearchSpace
from components.training.tuning.katib.log import last_words
from components.training.tuning.katib.trials import ended_trials, list_trials
from components.training.tuning.trials import FAILED, FINISHED, STOPPED_EARLY, Trial, in_words

logger = logging.getLogger(__name__)


class FollowedSearch:
    """An Experiment that is followed.

    Attributes:
        table: Its trials that have ended, by their names in the cluster.
    """

    def __init__(self, experiments: Objects, name: str, space: SearchSpace, trials: int) -> None:
        """Begin to follow.

        Args:
            experiments: The Experiments of the namespace.
            name: Of the Experiment.
            space: What is searched, and for what.
            trials: How many there are to be.
        """
        self.table: dict[str, Trial] = {}
        self._experiments, self._name = experiments, name
        self._space, self._trials = space, trials
        self._words: dict[str, str] = {}
        self._told = ""

    def tell(self, found: dict[str, Any]) -> None:
        """Tell of the trials that have ended since, and how many of what there are."""
        before = set(self.table)
        self._look()
        for name in [name for name in self.table if name not in before]:
            trial = self.table[name]
            scores = in_words(trial["metrics"])
            logger.info(
                "trial %d %s: %s: %s",
                *(trial["trial"], trial["status"], in_words(trial["parameters"])),
                trial.get("reason") or scores or "no scores",
            )
        counts = self._counts(found)
        if counts != self._told:
            self._told = counts
            logger.info("%s", counts)

    def outcome(self, found: dict[str, Any]) -> bool | None:
        """True once the Experiment has ended with a trial that finished; None before.

        Raises:
            UserError: If it ended otherwise, with what a failed trial said last.
        """
        failed = condition(found, "Failed")
        if not failed and not condition(found, "Succeeded"):
            return None
        self._look()
        statuses = [trial["status"] for trial in self.table.values()]
        if failed or FINISHED not in statuses:
            reasons = [trial["reason"] for trial in self.table.values() if "reason" in trial]
            why = reasons[-1] if reasons else self._experiments.explain(self._name)
            raise UserError(
                f"Experiment {self._name} failed: {statuses.count(FAILED)} of {len(statuses)} "
                f"trials failed; the last one: {why}"
            )
        return True

    def _look(self) -> None:
        """Read the trials; of those that failed since, what they said last."""
        found = list_trials(self._experiments, self._name)
        self.table = ended_trials(found, self._space, self._words)
        for name, trial in self.table.items():
            if trial["status"] == FAILED and name not in self._words:
                self._words[name] = self._last_words(name)
                trial["reason"] = self._words[name] or trial["reason"]

    def _last_words(self, trial: str) -> str:
        try:
            return last_words(self._experiments, trial)
        except UserError as error:
            return f"its log cannot be read ({error})"

    def _counts(self, found: Mapping[str, Any]) -> str:
        """How many trials there are of which kind, and about how long the others will take."""
        status = found.get("status") or {}
        statuses = [trial["status"] for trial in self.table.values()]
        done = len(statuses)
        said = (
            f"{done} of {self._trials} trials done ({statuses.count(FINISHED)} finished, "
            f"{statuses.count(FAILED)} failed, {statuses.count(STOPPED_EARLY)} stopped early), "
            f"{status.get('trialsRunning', 0)} running"
        )
        if not 0 < done < self._trials or not status.get("startTime"):
            return said
        spent = datetime.now(UTC) - datetime.fromisoformat(status["startTime"])
        left = round(spent.total_seconds() / 60 * (self._trials - done) / done)
        return f"{said}, about {left // 60}:{left % 60:02d} h left"
