"""What the A/B test's step does: find the place, test, write the report."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.deployment.ab_report import write_ab_test
from components.deployment.ab_run import run_ab_test as run
from components.deployment.asking.labelled_reviews import read_labelled_reviews
from components.deployment.asking.labelled_traffic import asker_of, check_answers
from components.deployment.judging.ab_test import Plan
from components.deployment.kserve.service_state import Mode, state_of
from components.deployment.options import filled, service_settings
from components.deployment.rollout_record import AbTest
from components.deployment.serving_place import ServingPlace, serving_place
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json

logger = logging.getLogger(__name__)


def run_ab_test(
    model_folder: str | Path,
    model_uri: str,
    labelled: str | Path,
    ab_test: str | Path,
    report: str | Path,
    *,
    model_name: str,
    version: str,
    plan: Mapping[str, float],
    mode: Mode = "Standard",
    reviews_per_second: float = 10.0,
    look_every_seconds: float = 5.0,
    deadline_seconds: float = 3600.0,
    url: str = "",
    settings: Mapping[str, Any] | None = None,
    namespace: str = "",
    retry_rejected: bool = False,
    place: ServingPlace | None = None,
) -> AbTest:
    """Test a model version against the one that serves, and shift to the better one.

    Args:
        model_folder: Whole model folder of the candidate.
        model_uri: The artifact's URI, from which a cluster fetches it.
        labelled: Labelled reviews to ask, each once, Parquet.
        ab_test: JSON file to write what happened to.
        report: HTML file to write.
        model_name: Name of the service.
        version: The candidate's version in the registry.
        plan: Fields of `Plan`.
        mode: KServe's deployment mode.
        reviews_per_second: How fast to ask.
        look_every_seconds: Pause between two looks at the failed requests.
        deadline_seconds: A test without its sample by then is undecided.
        url: Where the service's traffic is split; '' takes the one that its status tells.
        settings: Fields of `ServiceSettings` that differ from its defaults.
        namespace: Of a cluster; '' takes the pod's own.
        retry_rejected: Test a version again that was turned down before.
        place: Where it is served; where the environment says if None.

    Returns:
        How it went.

    Raises:
        UserError: As `components.deployment.ab_run.run_ab_test`, and where no answer comes from
            the URL.
    """
    planned = filled(Plan, plan, "part of a plan")
    size = service_settings(settings or {})
    where = place or serving_place(model_name, namespace)
    reviews = read_labelled_reviews(labelled)
    service = where.store.read()
    if service is None:
        raise UserError(
            f"nothing serves {model_name} that version {version} could be tested against; "
            "roll a version out first"
        )
    state, url = state_of(service), url or (service.get("status") or {}).get("url", "")
    if not url:
        raise UserError(
            f"service {model_name} tells no URL yet; wait until it is ready, or give it"
        )
    ask = asker_of(url, model_name)
    if reviews:
        arms = [one for one in (state.stable, state.canary) if one]
        check_answers(ask, reviews[0], arms, url)
    canary = where.canary(
        model_folder,
        model_uri,
        model_name=model_name,
        version=version,
        mode=mode,
        settings=size,
    )
    result = run(
        canary,
        where.source,
        plan=planned,
        reviews=reviews,
        ask=ask,
        reviews_per_second=reviews_per_second,
        look_every_seconds=look_every_seconds,
        deadline_seconds=deadline_seconds,
        retry_rejected=retry_rejected,
    )
    write_json(ab_test, result.to_dict())
    write_ab_test(result, report)
    logger.info("%s: %s", result.decision.replace("_", " "), result.reason)
    return result


def ab_metrics(test: AbTest) -> dict[str, float | str]:
    """The figures that a dashboard shows; without a comparison only the decision."""
    told: dict[str, float | str] = {"decision": str(test.decision)}
    if test.result is None:
        return told
    accuracy = test.result.accuracy
    told["winner"] = str(test.result.winner)
    for name, value in (
        ("accuracy_a", accuracy.a.rate),
        ("accuracy_b", accuracy.b.rate),
        ("accuracy_difference", accuracy.difference),
        ("effect_size_h", accuracy.cohens_h),
    ):
        if value is not None:
            told[name] = value
    told |= {"difference_low": accuracy.interval.low, "difference_high": accuracy.interval.high}
    told |= {"answered_a": accuracy.a.of, "answered_b": accuracy.b.of}
    told |= {"needed_a": test.result.plan.needed[0], "needed_b": test.result.plan.needed[1]}
    return told
