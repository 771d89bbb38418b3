"""A search: its space, read from the Katib Experiment that describes it, and its trials."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.search_space import Parameter, SearchSpace, number_in

_EXPERIMENT = Path(__file__).resolve().parents[3] / "manifests/base/katib/experiment.yaml"

_KINDS = ("double", "int", "discrete", "categorical")
_DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")
_SPACE_KEYS = ("min", "max", "step", "distribution", "list")

VALIDATION_SCORES = ("macro_f1", "accuracy", "validation_loss")
"""The scores of a training run, by their names in its result."""

FINISHED, FAILED, STOPPED_EARLY = "finished", "failed", "stopped early"

Trial = dict[str, Any]
"""`trial` (its number), `parameters`, `status` (`finished`, `failed`, or `stopped early` by a rule
of Katib's, with the metrics that it had reached), `metrics`, `seconds`, and `reason` where it
failed."""

_MLFLOW_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED", STOPPED_EARLY: "KILLED"}

logger = logging.getLogger(__name__)


def experiment_file() -> Path:
    """The manifest of the search: that of the checkout, or `KATIB_EXPERIMENT`."""
    return Path(os.environ.get("KATIB_EXPERIMENT") or _EXPERIMENT)


def read_experiment(experiment: str | Path) -> dict[str, Any]:
    """Read a Katib Experiment manifest, unchecked but for its kind.

    Raises:
        UserError: If the file is missing or not an Experiment.
    """
    import yaml

    path = Path(experiment)
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name a Katib Experiment manifest") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != "Experiment":
        raise UserError(f"{path} is not a Katib Experiment (kind: Experiment)")
    if not isinstance(manifest.get("spec"), dict):
        raise UserError(f"{path} has no spec; describe the search there")
    return manifest


def read_search_space(experiment: str | Path) -> SearchSpace:
    """Read the search space of a Katib Experiment manifest.

    Raises:
        UserError: If the file is missing or not an Experiment, or a parameter is not well
            described; the sentence names the parameter.
    """
    path = Path(experiment)
    spec = read_experiment(path)["spec"]
    described = spec.get("parameters")
    if not isinstance(described, list) or not described:
        raise UserError(f"{path} has no spec.parameters; list what is to be searched")
    parameters = tuple(_parameter(one, path) for one in described)
    names = [parameter.name for parameter in parameters]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: parameter {name} is described twice")
    objective, algorithm = (spec.get(key) or {} for key in ("objective", "algorithm"))
    for key, value in (("objective", objective), ("algorithm", algorithm)):
        if not isinstance(value, Mapping):
            raise UserError(f"{path}: spec.{key} must be a mapping")
    metric, direction = objective.get("objectiveMetricName"), objective.get("type")
    if not metric or direction not in ("maximize", "minimize"):
        raise UserError(
            f"{path}: spec.objective needs objectiveMetricName, and type maximize or minimize"
        )
    return SearchSpace(
        parameters=parameters,
        objective=str(metric),
        maximize=direction == "maximize",
        random_state=_random_state(algorithm, path),
    )


def _parameter(described: Any, path: Path) -> Parameter:
    """One entry of `spec.parameters`."""
    name = described.get("name") if isinstance(described, Mapping) else None
    if not isinstance(name, str) or not name:
        raise UserError(f"{path}: each of spec.parameters needs a name")
    place = f"{path}: parameter {name}"
    kind, space = described.get("parameterType"), described.get("feasibleSpace")
    if kind not in _KINDS:
        raise UserError(f"{place} has parameterType {kind!r}; use {', '.join(_KINDS)}")
    if not isinstance(space, Mapping):
        raise UserError(f"{place} has no feasibleSpace")
    for key, value in space.items():
        if key not in _SPACE_KEYS:
            raise UserError(
                f"{place} has the unknown key {key!r}; feasibleSpace knows {', '.join(_SPACE_KEYS)}"
            )
        texts = value if key == "list" and isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise UserError(f"{place}: {key} must be written as text, in quotes, for Katib")
    if kind in ("discrete", "categorical"):
        return _listed(name, kind, space, place)
    return _ranged(name, kind, space, place)


def _listed(name: str, kind: str, space: Mapping[str, Any], place: str) -> Parameter:
    """A discrete or categorical parameter."""
    choices = space.get("list")
    if not isinstance(choices, list) or not choices or set(space) != {"list"}:
        raise UserError(f"{place} is {kind}; give it a list with at least one value, and only that")
    if kind == "discrete":
        numbers = (number_in(choice, "list", place) for choice in choices)
        choices = [int(number) if number.is_integer() else number for number in numbers]
    return Parameter(name, kind, choices=tuple(choices))


def _ranged(name: str, kind: str, space: Mapping[str, Any], place: str) -> Parameter:
    """A double or int parameter."""
    if "list" in space or "min" not in space or "max" not in space:
        raise UserError(f"{place} is {kind}; give it min and max, and no list")
    low, high = (number_in(space[key], key, place) for key in ("min", "max"))
    step = number_in(space["step"], "step", place) if "step" in space else 0.0
    distribution = space.get("distribution", "uniform")
    if low > high:
        raise UserError(f"{place} has min {space['min']} above max {space['max']}")
    if "step" in space and step <= 0:
        raise UserError(f"{place} has step {space['step']}; use a number above 0")
    if kind == "int" and not all(number.is_integer() for number in (low, high, step)):
        raise UserError(f"{place} is int, but min, max or step is not a whole number")
    if distribution not in _DISTRIBUTIONS:
        raise UserError(
            f"{place} has distribution {distribution!r}; use {', '.join(_DISTRIBUTIONS)}"
        )
    if distribution.startswith("log") and low <= 0:
        raise UserError(f"{place} is {distribution}; min must be above 0")
    return Parameter(name, kind, low, high, step, distribution)


def _random_state(algorithm: Mapping[str, Any], path: Path) -> int | None:
    """The seed of the algorithm, which must be random search."""
    if algorithm.get("algorithmName") != "random":
        raise UserError(
            f"{path}: algorithm {algorithm.get('algorithmName')!r} cannot run on one machine; "
            "use random"
        )
    try:
        settings = algorithm.get("algorithmSettings") or []
        states = [int(one["value"]) for one in settings if one["name"] == "random_state"]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: each of spec.algorithm.algorithmSettings needs a name and a value, "
            "random_state a whole number"
        ) from None
    return states[0] if states else None


def best_trial(table: Sequence[Trial], objective: str, *, maximize: bool) -> Trial | None:
    """The finished trial with the best objective, the earliest of equals; None if none finished."""
    sign = 1 if maximize else -1
    return max(
        (trial for trial in table if trial["status"] == FINISHED),
        key=lambda trial: (sign * trial["metrics"][objective], -trial["trial"]),
        default=None,
    )


def log_to_mlflow(trial: Trial, base_model: str) -> None:
    """Log a trial as a run of the experiment `tuning`, where MLflow is set up."""
    from components.shared.machine.tracking import TRACKING_URI, experiment_id, tracking_client

    if not os.environ.get(TRACKING_URI):
        return
    try:
        client = tracking_client()
        run = client.create_run(
            experiment_id(client, "tuning", injected=False), run_name=f"trial-{trial['trial']}"
        )
        client.log_param(run.info.run_id, "base_model", base_model)
        for name, value in trial["parameters"].items():
            client.log_param(run.info.run_id, name, value)
        for name, value in trial["metrics"].items():
            client.log_metric(run.info.run_id, name, value)
        client.set_terminated(run.info.run_id, _MLFLOW_STATUS[trial["status"]])
    except Exception as error:
        # The log of the trials is the record; tracking must not cost a finished trial.
        logger.warning("trial %d is not in MLflow: %s", trial["trial"], error)
