"""The seam: a service that two versions may share, as a rollout and an A/B test see it.

`components.deployment.kserve` keeps it in a cluster, `components.deployment.local` on one machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from components.shared.machine.errors import UserError


class Interfered(UserError):  # noqa: N818 (what it says is that someone else decided)
    """Someone else changed the canary while it was being tried; what they did stays."""


class NotReady(UserError):  # noqa: N818 (what it says is what the service is, not an error of it)
    """The candidate did not become ready with its share of the traffic, with the reason."""


@dataclass(frozen=True)
class Candidate:
    """A registered version that is to be served.

    A cluster fetches its whole model folder from the URI; the digest is that of the folder's files.
    """

    version: str
    folder: Path
    uri: str
    digest: str


@dataclass(frozen=True)
class ServiceState:
    """Which version serves what.

    Attributes:
        stable: Version that gets the traffic that no canary gets; '' while the first deployment
            has not been promoted.
        canary: Version that is being tried; None where none is.
        percent: The canary's share of the traffic; 100 for a first deployment.
        rejected: Last version that was rolled back; None where none was.
        rejected_because: Why, in one sentence.
        evidence: What `shift` was last given to keep, for a run that resumes.
    """

    stable: str
    canary: str | None = None
    percent: int = 0
    rejected: str | None = None
    rejected_because: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Service(Protocol):
    """One service, and one version that is being tried on it: the candidate. A dataclass.

    Every verb may be repeated: what is done already is not done twice, so that a run that was
    killed between any two calls ends the same when it is run again. A verb that finds another
    canary, or another share than it expects, raises `Interfered` and changes nothing; `UserError`
    if the service refuses, does not follow, or was not made by this project.
    """

    name: str
    candidate: Candidate

    def state(self) -> ServiceState | None:
        """Which version serves what, now; None where nothing was ever deployed."""
        ...

    def start(self, first_percent: int, *, shadow: bool = False) -> None:
        """Start the candidate beside the stable version, without any traffic.

        Where nothing serves yet, 100 percent make it the first deployment: the state is then a
        canary at 100 percent beside no stable version, and `promote` or `roll_back` ends it.

        Args:
            first_percent: Share that it gets next.
            shadow: Send it a copy of the traffic while it gets none of its own.
        """
        ...

    def shift(
        self,
        before: int,
        percent: int,
        *,
        following: int,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """Give the candidate another share of the traffic.

        Args:
            before: The share that it is expected to have.
            percent: The share that it gets.
            following: The share after that, so that enough replicas start in time.
            evidence: JSON-ready; `state` gives it back until the next `shift`, `promote` or
                `roll_back`. None leaves what is there.
        """
        ...

    def ready(self, percent: int) -> None:
        """Wait until the candidate is ready and has its share of the traffic; else `NotReady`."""
        ...

    def promote(self) -> None:
        """Make the candidate, which has all of the traffic, the stable version; wait for it."""
        ...

    def roll_back(self, reason: str) -> None:
        """Give all of the traffic to the stable version again, for a reason in one sentence; wait.

        A first deployment is removed: nothing serves then.
        """
        ...


def interference(service: Service, now: ServiceState | None) -> Interfered:
    """What someone else did while the candidate was being tried, in a sentence."""
    version = service.candidate.version
    if now is None:
        return Interfered(
            f"someone deleted service {service.name} while version {version} was rolled out; "
            "run again to deploy it anew"
        )
    if now.canary == version:
        what = f"gave version {version} {now.percent} percent of the traffic"
    elif now.canary is not None:
        what = f"is trying version {now.canary} instead"
    elif now.stable == version:
        what = f"made version {version} the stable one"
    else:
        what = f"removed version {version}; {now.stable} serves alone"
    return Interfered(
        f"someone else {what} while it was rolled out on {service.name}; this rollout ends here "
        "and leaves that as it is"
    )


def expect_share(service: Service, now: ServiceState | None, percent: int) -> ServiceState:
    """The state, if the candidate is the canary and has that share; else `Interfered`."""
    if now is None or (now.canary, now.percent) != (service.candidate.version, percent):
        raise interference(service, now)
    return now
