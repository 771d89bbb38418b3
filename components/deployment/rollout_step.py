"""What the rollout's step does: find the place, roll out, write the report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from components.deployment.canary_report import write_canary_report
from components.deployment.judging.canary_analysis import Limits
from components.deployment.judging.shadow_watch import ShadowWatch, logging_payloads
from components.deployment.kserve.service_state import Mode
from components.deployment.options import filled, service_settings
from components.deployment.roll_out import roll_out
from components.deployment.rollout_record import Rollout
from components.deployment.serving_place import ServingPlace, asker, serving_place
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json

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
    payload_uri: str = "",
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
        payload_uri: Payload log that the version writes to; after a shadow step its answers there
            are compared with the stable version's, which has to have been served with the same.
        place: Where it is served; where the environment says if None.

    Returns:
        How it went.

    Raises:
        UserError: As `components.deployment.roll_out.roll_out`, and for limits or settings that do
            not exist or are no numbers.
    """
    chosen = _limits(limits or {})
    service = service_settings(settings or {})
    if payload_uri:
        service = logging_payloads(service, payload_uri)
    shadow = ShadowWatch(payload_uri)
    where = place or serving_place(model_name, namespace)
    canary = where.canary(
        model_folder,
        model_uri,
        model_name=model_name,
        version=version,
        mode=mode,
        settings=service,
    )
    result = roll_out(
        canary,
        where.source,
        steps=steps,
        limits=chosen,
        look_every_seconds=look_every_seconds,
        step_deadline_seconds=step_deadline_seconds,
        labelled=asker(where, labelled, model_name, labelled_reviews),
        after_step=shadow.after_step,
        retry_rejected=retry_rejected,
    )
    write_json(rollout, result.to_dict())
    write_canary_report(result, report, shadow.found(result.stable_version, result.version))
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
    limits: Limits = filled(Limits, given, "limit")
    for field in fields(Limits):
        value = getattr(limits, field.name)
        if field.name == "alpha" and not 0 < value < 1:
            raise UserError(f"limit alpha is {value:g}; give more than 0 and less than 1")
        if not value >= 0:
            raise UserError(f"limit {field.name} is {value:g}; give 0 or more")
    return limits
