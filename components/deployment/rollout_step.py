"""What the rollout's step does: find the place, roll out, write the report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from components.contracts.errors import UserError
from components.contracts.files import sha256_of_file, write_json
from components.contracts.model_folder import WEIGHTS, check_model_folder
from components.deployment.canary_analysis import Limits
from components.deployment.canary_report import write_canary_report
from components.deployment.inference_service import Autoscaling, Mode, ServiceSettings
from components.deployment.roll_out import Rollout, roll_out
from components.deployment.serving_place import ServingPlace, asker, serving_place

logger = logging.getLogger(__name__)


def roll_out_model(
    model_folder: str | Path,
    model_uri: str,
    labelled: str | Path,
    rollout: str | Path,
    report: str | Path,
    *,
    model_name: str,
    version: str,
    mode: Mode = "Standard",
    steps: Sequence[int] = (10, 50, 100),
    limits: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    namespace: str = "",
    labelled_reviews: int = 512,
    look_every_seconds: float = 15.0,
    step_deadline_seconds: float = 3600.0,
    retry_rejected: bool = False,
    place: ServingPlace | None = None,
) -> Rollout:
    """Serve a model version: first deployment, or canary that is promoted or rolled back.

    Args:
        model_folder: Whole model folder of the version.
        model_uri: The artifact's URI, from which a cluster fetches it.
        labelled: Labelled reviews that both versions are asked, Parquet.
        rollout: JSON file to write what happened to.
        report: HTML file to write.
        model_name: Name of the service.
        version: Version in the registry.
        mode: KServe's deployment mode.
        steps: Percent of the traffic that the canary gets in turn.
        limits: Fields of `Limits` that differ from its defaults.
        settings: Fields of `ServiceSettings` that differ from its defaults.
        namespace: Of a cluster; '' takes the pod's own.
        labelled_reviews: Most labelled reviews to ask; 0 asks none.
        look_every_seconds: Pause between two looks at the numbers.
        step_deadline_seconds: A canary that is not proven within this time of a step goes back.
        retry_rejected: Try a version again that was rolled back before.
        place: Where it is served; where the environment says if None.

    Returns:
        How it went.

    Raises:
        UserError: As `components.deployment.roll_out.roll_out`, and for limits or settings that do
            not exist or are no numbers.
    """
    folder = check_model_folder(model_folder)
    chosen = _limits(limits or {})
    size = dict(settings or {})
    if isinstance(size.get("autoscaling"), Mapping):
        size["autoscaling"] = _filled(Autoscaling, size["autoscaling"], "autoscaling setting")
    if "server_arguments" in size:
        size["server_arguments"] = tuple(size["server_arguments"])
    service = _filled(ServiceSettings, size, "service setting")
    where = place or serving_place(model_name, namespace)
    result = roll_out(
        where.store,
        where.source,
        model_name=model_name,
        version=version,
        storage_uri=where.storage_uri(folder, model_uri, version),
        model_digest=sha256_of_file(folder / WEIGHTS),
        mode=mode,
        steps=steps,
        limits=chosen,
        look_every_seconds=look_every_seconds,
        step_deadline_seconds=step_deadline_seconds,
        settings=service,
        labelled=asker(where, labelled, model_name, labelled_reviews),
        retry_rejected=retry_rejected,
    )
    write_json(rollout, result.to_dict())
    write_canary_report(result, report)
    logger.info("%s: %s", result.decision.replace("_", " "), result.reason)
    return result


def percentages(text: str) -> tuple[int, ...]:
    """Steps as a person writes them, such as `10,50,100`.

    Raises:
        UserError: If they are no whole numbers.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"steps {text!r} are no percentages; write them as 10,50,100") from None


def _limits(given: Mapping[str, Any]) -> Limits:
    """The limits, some of them given."""
    limits: Limits = _filled(Limits, given, "limit")
    for field in fields(Limits):
        value = getattr(limits, field.name)
        if field.name == "alpha" and not 0 < value < 1:
            raise UserError(f"limit alpha is {value:g}; give more than 0 and less than 1")
        if not value >= 0:
            raise UserError(f"limit {field.name} is {value:g}; give 0 or more")
    return limits


def _filled(kind: type, given: Mapping[str, Any], called: str) -> Any:
    """An options object with some of its fields given."""
    known = {field.name: field for field in fields(kind)}
    for name in given:
        if name not in known:
            raise UserError(f"there is no {called} {name!r}; there are {', '.join(known)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{called} {name!r} is missing; give it")
    return kind(
        **{name: _number(f"{called} {name}", known[name].type, of) for name, of in given.items()}
    )


def _number(called: str, kind: Any, value: Any) -> Any:
    """A value as its field has it; a pipeline's numbers come as floats, also the whole ones."""
    if kind not in (int, float):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{called} is {value!r}, which is no number")
    if kind is float:
        return float(value)
    if not float(value).is_integer():
        raise UserError(f"{called} is {value}, which is no whole number")
    return int(value)
