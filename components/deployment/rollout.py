"""A rollout: a version serves if it proves itself beside the one that does, share by share."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.deployment.asking.labelled import SideBySide
from components.deployment.judging.canary_analysis import CanaryWatch, Limits
from components.deployment.judging.shadow import describe_shadow
from components.deployment.place import serving_place
from components.deployment.tryout import Look, Outcome, Step, Tryout
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.machine.options import option

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolloutOptions(Limits, called="rollout option"):
    """How a version is rolled out, and how much worse it may be."""

    steps: tuple[int, ...] = option(
        (10, 50, 100), "percent of the traffic that the canary gets in turn; a first 0 is a shadow"
    )
    look_every_seconds: float = option(15.0, "pause between two looks at the numbers", 0.001, 86400)
    step_deadline_seconds: float = option(
        3600.0, "a canary that is not proven within this time of a step goes back", 0, 10**7
    )
    labelled_reviews: int = option(
        512, "most labelled reviews that both versions are asked; 0 asks none", 0, 10**6
    )
    retry_rejected: bool = option(False, "try a version again that was rolled back before")

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = self.steps
        rising = list(steps) == sorted(set(steps)) and len(steps) > 1
        if not rising or steps[0] < 0 or steps[-1] != 100 or steps[-2] <= 0:
            raise UserError(
                f"steps {','.join(map(str, steps)) or '(none)'} cannot be rolled out; give rising "
                "percentages that end in 100, with one between 0 and 100 to compare at"
            )


@dataclass
class CanaryJudge:
    """A `Judge` that compares the canary with the stable version, and looks as often as it likes.

    `read` is `ObservationSource.read`, `labelled` a `SideBySide`; the options' `alpha` is for the
    whole rollout, and shared evenly between the steps.
    """

    read: Callable[[str], Any]
    canary: str
    options: RolloutOptions
    labelled: Callable[..., tuple[Sequence[tuple[bool, bool]], str]] = lambda *_: ([], "")
    sleep: Callable[[float], None] = time.sleep
    _stable: str = ""
    _percent: int = 0
    _before: Mapping[str, Any] = field(default_factory=dict)
    _watch: CanaryWatch | None = None
    _reading: Any = None

    def shares(self, percent: int | None, evidence: Mapping[str, Any]) -> Sequence[int]:
        """As `Judge.shares`; after a crash from the share that the canary has."""
        if percent == 100 and "seen" not in evidence:
            # At 100 percent nothing can be learned of the stable version: one step back.
            return self.options.steps[-2:]
        return [step for step in self.options.steps if step >= (percent or 0)]

    def begin(self, stable: str, percent: int, evidence: Mapping[str, Any]) -> None:
        """As `Judge.begin`; the first look that sees both versions begins the watch."""
        self._stable, self._percent, self._before = stable, percent, evidence
        self._watch = None

    def look(self) -> Look:
        """As `Judge.look`.

        Labelled reviews are asked before a watch begins, because the questions count as requests.
        A server that fails at them is judged by its other numbers, but not promoted.
        """
        labelled, unasked = self.labelled(self._stable, self.canary)
        canary = self.read(self.canary)
        if self._percent < 100:
            self._reading = self.read(self._stable)
        if self._watch is None:
            limits = replace(self.options, alpha=self.options.alpha / len(self.options.steps))
            if self._percent < 100:
                self._watch = CanaryWatch(limits, self._reading, canary)
            else:
                self._watch, self._reading = CanaryWatch.resumed(self._before, canary, limits)
            return Look.hold("nothing was seen of it")
        self._watch, analysis = self._watch.look(self._reading, canary, labelled)
        analysis = analysis.held_by(unasked)
        return Look(analysis.verdict, analysis.reason, analysis)

    def use(self, seconds: float) -> None:
        """As `Judge.use`: wait."""
        self.sleep(seconds)

    def evidence(self) -> dict[str, Any]:
        """As `Judge.evidence`: what the step saw of the stable version."""
        return self._watch.evidence(self._reading) if self._watch else {}


def roll_out_model(
    where: Mapping[str, Any],
    options: Mapping[str, Any],
    labelled: str | Path,
    rollout: str | Path,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Serve a model version: first deployment, or canary that is promoted or rolled back.

    `where` has the arguments of `serving_place`, `options` are `RolloutOptions` by name. Both
    versions are asked the labelled reviews; what happened is written to the JSON file `rollout`.

    Raises:
        UserError: As `serving_place` and `Tryout.run`, and for an option that cannot be.
    """
    chosen = RolloutOptions.from_dict(options)
    place = serving_place(**where)
    name, version = place.service.name, place.service.candidate.version
    side_by_side = SideBySide(labelled, name, chosen.labelled_reviews, place.addresses)
    shadowed: list[tuple[datetime, datetime]] = []

    def note_shadow(step: Step) -> None:
        if step.percent == 0:
            now = datetime.now(UTC)
            shadowed.append((now - timedelta(seconds=step.seconds), now))

    outcome = Tryout(
        place.service,
        CanaryJudge(place.source.read, version, chosen, side_by_side, sleep),
        chosen.look_every_seconds,
        chosen.step_deadline_seconds,
        chosen.retry_rejected,
        after_step=note_shadow,
        clock=clock,
    ).run()
    shadow = None
    if shadowed:
        both = outcome.stable_version, version
        shadow = describe_shadow(place.payload_uri, both, shadowed[0], sleep=sleep)
    write_json(rollout, outcome.to_dict() | {"mode": place.mode, "shadow": shadow})
    logger.info("%s: %s", outcome.decision.replace("_", " "), outcome.reason)
    return outcome
