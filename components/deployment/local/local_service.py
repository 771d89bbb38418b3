"""The service of a rollout on one machine: six verbs on the file that a supervisor serves from."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.deployment.local.service_file import ServedModel, ServiceFile, Wanted
from components.deployment.service import Candidate, NotReady, expect_share, interference
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole

_LOOK_SECONDS = 0.1


@dataclass
class LocalService(ServiceFile):
    """A `Service` on one machine.

    Attributes:
        candidate: The version that is tried.
        server_arguments: Further arguments of its server; those of the stable version where empty.
        ready_within_seconds: Time that the supervisor has for each change.
        clock: Seconds that never run backwards.
        sleep: Waits that many seconds.
    """

    candidate: Candidate
    server_arguments: tuple[str, ...] = ()
    ready_within_seconds: float = 600.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def start(self, first_percent: int, *, shadow: bool = False) -> None:
        """As `Service.start`; the model folder is copied, so that the run's own may go."""
        version = self.candidate.version

        def started(now: Wanted | None) -> Wanted:
            if now and now.canary and now.canary.version == version:
                return now
            stable = now.stable if now else None
            beside_none = first_percent == 100
            if (stable is None) != beside_none or (now and now.canary):
                raise interference(self, now.state if now else None)
            if stable and stable.version == version:
                raise interference(self, now.state)
            arguments = self.server_arguments or (stable.arguments if stable else ())
            folder, digest = str(self._copied_folder()), self.candidate.digest
            canary = ServedModel(self.name, folder, version, digest, tuple(arguments))
            return Wanted(stable, canary, 0, shadow) if stable else Wanted(None, canary, 100)

        self.change(started)

    def shift(
        self,
        before: int,
        percent: int,
        *,
        following: int,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """As `Service.shift`; one process serves any share, so `following` changes nothing."""

        def shifted(now: Wanted | None) -> Wanted:
            if now and (now.state.canary, now.percent) == (self.candidate.version, percent):
                return now
            ours = self._expect(now, before)
            seen = ours.evidence if evidence is None else dict(evidence)
            return replace(ours, percent=percent, evidence=seen)

        self.change(shifted)

    def ready(self, percent: int) -> None:
        """As `Service.ready`."""

        def reached() -> bool:
            expect_share(self, self.state(), percent)
            shown = self.in_effect().versions.get(self.candidate.version)
            return shown is not None and shown.port is not None and shown.percent == percent

        self._wait(reached, NotReady)

    def promote(self) -> None:
        """As `Service.promote`."""
        version = self.candidate.version

        def promoted(now: Wanted | None) -> Wanted:
            if now and now.canary is None and now.state.stable == version:
                return now
            return Wanted(self._expect(now, 100).canary)

        self.change(promoted)
        self._wait(lambda: self._shares() == {version: 100}, UserError)

    def roll_back(self, reason: str) -> None:
        """As `Service.roll_back`."""
        version = self.candidate.version

        def rolled_back(now: Wanted | None) -> Wanted | None:
            if now is None or (now.canary is None and now.rejected == version):
                return now
            stable = self._expect(now, now.percent).stable
            return stable and Wanted(stable, rejected=version, rejected_because=reason[:1000])

        self.change(rolled_back)
        if self.read() is not None:
            self._wait(lambda: version not in self._shares(), UserError)

    def _expect(self, now: Wanted | None, percent: int) -> Wanted:
        if now is None or (now.state.canary, now.percent) != (self.candidate.version, percent):
            raise interference(self, now.state if now else None)
        return now

    def _shares(self) -> dict[str, int]:
        return {version: one.percent for version, one in self.in_effect().versions.items()}

    def _wait(self, reached: Callable[[], bool], error: type[UserError]) -> None:
        deadline = self.clock() + self.ready_within_seconds
        while not reached():
            if self.clock() >= deadline:
                raise error(
                    f"{self.name} was not as wanted within {self.ready_within_seconds:.0f} s; "
                    f"{self.explain()}"
                )
            self.sleep(_LOOK_SECONDS)

    def _copied_folder(self) -> Path:
        """A copy of the model folder that outlives the run, named after version and weights."""
        name = f"{self.candidate.version}-{self.candidate.digest[:12]}"
        target = self.folder / "models" / self.name / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with replaced_when_whole(target) as draft:
                shutil.copytree(self.candidate.folder, draft)
        return target
