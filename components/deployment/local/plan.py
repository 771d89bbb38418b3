"""What the supervisor does next: from what is wanted and the processes there are, nothing else."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from components.deployment.local.service_file import ServedModel, Wanted
from components.deployment.local.splitter_configuration import Backend, Split


@dataclass(frozen=True)
class Seen:
    """A model server process, as it was seen last.

    Attributes:
        id: Name of the process.
        key: Key of the model that it serves.
        version: Version of that model.
        port: Where it takes requests; None where it is not ready.
        ending: Whether it was asked to end.
    """

    id: str
    key: str
    version: str
    port: int | None = None
    ending: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        start: Models to start a server for.
        split: How the traffic is to be split.
        end: Names of the processes to end.
        serving: Key of the model that serves as the stable one; None where none does.
    """

    start: tuple[ServedModel, ...]
    split: Split
    end: tuple[str, ...]
    serving: str | None


def reconcile(
    wanted: Wanted | None,
    seen: Sequence[Seen],
    serving: str | None,
    in_effect: Split | None,
    *,
    draining: bool = False,
    held_back: Collection[str] = (),
) -> Plan:
    """Decide what to do next; the same state always gives the same plan.

    A server gets requests only while it is ready, and ends only when the splitter has let go of
    it. A model serves as the stable one until the one that is wanted instead is ready.

    Args:
        wanted: What is to be served; None where nothing is.
        seen: The processes there are.
        serving: Key of the model that was the stable one up to now.
        in_effect: The split that the splitter has; None where it does not run.
        draining: Whether the splitter still answers requests that it split as before.
        held_back: Keys of models that are not to be started yet.

    Returns:
        The plan; where nothing is to be done, its split is the one in effect.
    """
    models = wanted.models if wanted else {}
    live: dict[str, Seen] = {}
    for process in sorted(seen, key=lambda process: process.port is None):
        if not process.ending:
            live.setdefault(process.key, process)
    ready = {key: process for key, process in live.items() if process.port}
    stable = wanted.stable if wanted else None
    if stable and stable.key in ready:
        serving = stable.key
    elif serving not in ready or (stable is None and models.keys() <= ready.keys()):
        serving = None  # also where a first deployment is ready: it needs nothing beside it
    split = _split_of(wanted, ready, serving) if wanted else Split()
    needed = {live[key].id for key in {*models, serving} if key in live}
    may_end = in_effect == split and not draining
    return Plan(
        start=tuple(
            model for key, model in models.items() if key not in live and key not in held_back
        ),
        split=split,
        end=tuple(
            process.id
            for process in seen
            if may_end and not process.ending and process.id not in needed
        ),
        serving=serving,
    )


def _split_of(wanted: Wanted, ready: dict[str, Seen], serving: str | None) -> Split:
    """Shares of those that are ready; where the stable version is down, its canary answers all."""
    stable = ready.get(serving or "")
    canary = ready.get(wanted.canary.key) if wanted.canary else None
    if stable is None or stable is canary:
        only = stable or (canary if wanted.percent else None)
        return Split((_backend(only, 100),)) if only else Split()
    if canary is None or not wanted.percent:
        shadow = _backend(canary, 0) if canary and wanted.shadow else None
        return Split((_backend(stable, 100),), shadow)
    return Split((_backend(stable, 100 - wanted.percent), _backend(canary, wanted.percent)))


def _backend(process: Seen, percent: int) -> Backend:
    return Backend(process.version, process.port or 0, percent)
