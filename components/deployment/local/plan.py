"""What a site does next: from what the object wants and the processes there are, nothing else."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from components.deployment.kserve.service_state import SHADOW_ANNOTATION
from components.deployment.local.local_store import merge_patch
from components.deployment.local.model_process import ServedModel
from components.deployment.local.splitter_configuration import Backend, Split


@dataclass(frozen=True)
class WantedCanary:
    """An entry of `spec.canary`.

    Attributes:
        name: Its `predictor.name`.
        percent: Its `trafficPercent`.
        model: What it serves; None where `fault` says why it can't.
        fault: What is wrong with the entry.
    """

    name: str
    percent: int
    model: ServedModel | None
    fault: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the object asks for.

    Attributes:
        stable: What the predictor serves; None where `fault` says why it can't.
        canaries: The entries of `spec.canary`.
        shadow: Whether canaries without a share get copies of the requests.
        fault: What is wrong with the predictor.
    """

    stable: ServedModel | None
    canaries: tuple[WantedCanary, ...] = ()
    shadow: bool = False
    fault: str = ""

    @property
    def models(self) -> dict[str, ServedModel]:
        """The models asked for, by key."""
        models = [self.stable, *(canary.model for canary in self.canaries)]
        return {model.key: model for model in models if model is not None}


@dataclass(frozen=True)
class Seen:
    """A model server process, as it is found.

    Attributes:
        id: Of the process.
        key: Of the model that it serves.
        version: Of that model.
        port: Where it listens; None where it does not yet.
        ready: Whether it may get requests.
        ending: Whether it was asked to end.
    """

    id: str
    key: str
    version: str
    port: int | None = None
    ready: bool = False
    ending: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        start: Models to start a server for.
        split: How the traffic is to be split.
        end: Ids of the processes to end.
        serving: Key of the model that serves as the stable one; None where none does.
    """

    start: tuple[ServedModel, ...]
    split: Split
    end: tuple[str, ...]
    serving: str | None


def wanted_of(service: Mapping[str, Any]) -> Wanted:
    """What an InferenceService asks a site to serve."""
    name, spec = service["metadata"]["name"], service["spec"]
    predictor = spec["predictor"]
    annotations = service["metadata"].get("annotations") or {}
    stable, fault = _model_of(name, predictor)
    canaries = []
    for canary in spec.get("canary") or []:
        # KServe lays the canary over the stable predictor (mergo, with override).
        model, wrong = _model_of(name, merge_patch(predictor, canary["predictor"]))
        canaries.append(
            WantedCanary(canary["predictor"]["name"], canary["trafficPercent"], model, wrong)
        )
    shadow = str(annotations.get(SHADOW_ANNOTATION)).lower() == "true"
    return Wanted(stable, tuple(canaries), shadow, fault)


def _model_of(name: str, predictor: Mapping[str, Any]) -> tuple[ServedModel | None, str]:
    """The model of a predictor, or what is wrong with it."""
    model = predictor["model"]
    uri = urlsplit(model.get("storageUri") or "")
    if uri.scheme != "file" or uri.netloc not in ("", "localhost") or not uri.path:
        given = model.get("storageUri")
        return None, f"storageUri {given!r} is no folder of this machine; give file:///..."
    environment = {
        str(entry["name"]): str(entry.get("value", "")) for entry in model.get("env") or []
    }
    version = environment.pop("MODEL_VERSION", "")
    folder = unquote(uri.path)
    arguments = tuple(map(str, model.get("args") or []))
    return ServedModel(name, folder, version, tuple(sorted(environment.items())), arguments), ""


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

    Args:
        wanted: What the object asks for; None where there is no object.
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
    for process in sorted(seen, key=lambda process: (process.ending, not process.ready)):
        if not process.ending:
            live.setdefault(process.key, process)
    ready = {key: process for key, process in live.items() if process.ready and process.port}
    if wanted and wanted.stable and wanted.stable.key in ready:
        serving = wanted.stable.key
    elif wanted is None or serving not in ready:
        serving = None
    split = _split_of(wanted, ready.get(serving or ""), ready) if wanted else Split()
    kept = {live[key].id for key in {*models, serving} if key in live}
    # Not before the splitter has let go of it.
    may_end = in_effect == split and not draining
    return Plan(
        start=tuple(
            model for key, model in models.items() if key not in live and key not in held_back
        ),
        split=split,
        end=tuple(
            process.id
            for process in seen
            if may_end and not process.ending and process.id not in kept
        ),
        serving=serving,
    )


def _split_of(wanted: Wanted, stable: Seen | None, ready: Mapping[str, Seen]) -> Split:
    """Shares of those that are ready."""
    canaries = [
        (ready[canary.model.key], canary.percent)
        for canary in wanted.canaries
        if canary.model and canary.model.key in ready
    ]
    with_share = [(process, percent) for process, percent in canaries if percent]
    if stable:
        rest = 100 - sum(percent for _, percent in with_share)
        shares = [(stable, rest), *with_share]
    else:
        parts = _hundred(percent for _, percent in with_share)
        shares = [(process, part) for (process, _), part in zip(with_share, parts, strict=True)]
    by_port: dict[int, Backend] = {}
    for process, percent in shares:
        port = process.port or 0
        # One process may stand for two predictors of the same model.
        before = by_port[port].percent if port in by_port else 0
        by_port[port] = Backend(process.version, port, before + percent)
    without = [process for process, percent in canaries if not percent]
    shadow = None
    if wanted.shadow and by_port and without:
        shadow = Backend(without[0].version, without[0].port or 0, 0)
    return Split(tuple(by_port.values()), shadow)


def _hundred(percents: Iterable[int]) -> list[int]:
    """Integers in proportion that add up to 100 (largest remainders); empty for none."""
    given = list(percents)
    total = sum(given)
    if not total:
        return []
    parts = [percent * 100 // total for percent in given]
    by_remainder = sorted(range(len(given)), key=lambda i: -(given[i] * 100 % total))
    for position in by_remainder[: 100 - sum(parts)]:
        parts[position] += 1
    return parts
