"""Registering a model: everything is logged first, then the version is made."""

import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.registry.mlflow_model import write_mlflow_model
from components.registry.versions import (
    CHALLENGER,
    FOLDER_DIGEST,
    MODEL_ARTIFACT,
    PREDICTIONS_ARTIFACT,
    Approval,
    download_model,
    versions_of,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, sha256_of_file, write_json
from components.shared.machine.tracking import (
    INJECTED_RUN,
    errors_in_words,
    experiment_id,
    log_in_batches,
    metric_key,
    tracking_client,
    uri_without_secrets,
)
from components.shared.records.card_sections import Summaries
from components.shared.records.file_list import write_file_list
from components.shared.records.model_card import description_of, write_model_card
from components.shared.records.model_folder import WEIGHTS, check_model_folder, read_training_facts
from components.shared.records.signature import sign_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

SIGNING_KEY = "SIGNING_KEY"
"""Environment variable with the path of the private key that versions are signed with."""

logger = logging.getLogger(__name__)

LINEAGE = (
    *("data_fingerprint", "feature_service", "training_set"),
    *("code_version", "pipeline_run", "base_model"),
)
"""The facts that every version carries as tags."""

SCORES = ("accuracy", "macro_f1")
"""The scores of the evaluation that every version carries as tags."""

SUMMARY_ARTIFACT = "{}/summary.json"
"""Where the summary of a step lies among a run's files, by its name in `Summaries`."""


@dataclass(frozen=True)
class Registration:
    """What was registered."""

    model_name: str  # registered model
    version: str  # its new version, a number as text
    run_id: str  # MLflow run that holds parameters, metrics and artifacts
    approval: str  # `approved` or `pending`
    folder_digest: str  # of the list of its files
    lineage: dict[str, str]  # where the version comes from, by the names of `LINEAGE`
    tracking_uri: str  # MLflow's address, without secrets


def register(
    model_folder: str | Path,
    summaries: Mapping[str, str | Path],
    predictions: str | Path,
    registration: str | Path,
    *,
    model_name: str,
    approval: str,
    facts: Mapping[str, Any],
    registered: str | Path | None = None,
) -> Registration:
    """Log a model with its scores, lineage and files, and make a version of it.

    The version is made last: if a step fails, the run is marked as failed and there is no new
    version. The same model of the same pipeline run is registered once, however often this is
    called.

    The numbers of the evaluation summary become metrics. `registration` is the JSON file to write;
    the registered model is made if it is missing. Approval is `auto` (at once) or `manual` (waits
    for a person). Lineage is by the names of `LINEAGE`, what is missing from `training.json`;
    `mlflow_run` among the facts is the run of the training, which the version then belongs to. The
    folder `registered` gets the version's files as whoever fetches them will find them.

    `summaries` are JSON files by the names of `Summaries`, at least the evaluation's. They are kept
    with the version; its model card, and the description made of that, say what they found.

    Raises:
        UserError: If an input is missing or MLflow cannot be reached, if `approval` is neither
            `auto` nor `manual`, or if the lineage contradicts the model's own.
    """
    if approval not in ("auto", "manual"):
        raise UserError(f"approval is {approval!r}; give auto or manual")
    folder = check_model_folder(model_folder)
    training = read_training_facts(folder)
    found = Summaries(**{name: read_json(path) for name, path in summaries.items()})
    summary = found.evaluation
    if not Path(predictions).is_file():
        raise UserError(f"{predictions} does not exist; run the evaluation first")
    lineage = _lineage(facts, training.get("facts", {}), folder)
    digest = sha256_of_file(folder / WEIGHTS)
    client = tracking_client()
    with errors_in_words():
        version, run_id = _registered_before(client, model_name, lineage["pipeline_run"], digest)
        if version:
            logger.info("this run's model is version %s of %s already", version, model_name)
        else:
            status = Approval.APPROVED if approval == "auto" else Approval.PENDING
            scores = {name: f"{summary[name]:.4f}" for name in SCORES if name in summary}
            tags = {**lineage, "model_digest": digest, "approval": status, **scores}
            artifacts = {
                PREDICTIONS_ARTIFACT: Path(predictions),
                **{SUMMARY_ARTIFACT.format(name): Path(of) for name, of in summaries.items()},
            }
            with tempfile.TemporaryDirectory() as workshop:
                packed = Path(shutil.copytree(folder, Path(workshop) / MODEL_ARTIFACT))
                write_model_card(packed, found, model_name)
                write_mlflow_model(packed)
                if key := os.environ.get(SIGNING_KEY):
                    sign_folder(packed, key)
                tags[FOLDER_DIGEST] = write_file_list(packed)
                version, run_id = _log_and_register(
                    *(client, model_name, packed, training, found, artifacts, tags),
                    trained_in=str(facts.get("mlflow_run") or ""),
                )
            logger.info("registered version %s of %s (%s)", version, model_name, status)
        kept = client.get_model_version(model_name, version)
        if registered:
            download_model(client, kept, Path(registered))
    result = Registration(
        model_name=model_name,
        version=version,
        run_id=run_id,
        approval=kept.tags["approval"],
        folder_digest=kept.tags.get(FOLDER_DIGEST, ""),
        lineage=lineage,
        tracking_uri=uri_without_secrets(),
    )
    write_json(registration, asdict(result))
    return result


def numbers_of(content: Any, prefix: str = "") -> dict[str, float]:
    """The finite numbers in nested mappings, by their path joined with dots; lists are left out."""
    if isinstance(content, bool):
        return {prefix: float(content)}
    if isinstance(content, int | float):
        return {prefix: float(content)} if math.isfinite(content) else {}
    numbers: dict[str, float] = {}
    if isinstance(content, Mapping):
        for key, value in content.items():
            numbers |= numbers_of(value, f"{prefix}.{key}" if prefix else str(key))
    return numbers


def _lineage(given: Mapping[str, Any], of_model: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The facts of `LINEAGE`: given, or those in the model folder; they must agree."""
    lineage = {}
    for name in LINEAGE:
        value, own = str(given.get(name) or ""), str(of_model.get(name) or "")
        if value and own and value != own:
            raise UserError(
                f"{folder} was trained with {name} {own}, but is to be registered with {value}; "
                "register the model with the facts of its own run"
            )
        lineage[name] = value or own
    return lineage


def _registered_before(
    client: "MlflowClient", model_name: str, pipeline_run: str, digest: str
) -> tuple[str, str]:
    """Version and run id of the same model from the same pipeline run; empty if there is none."""
    wanted = {"pipeline_run": pipeline_run, "model_digest": digest}
    for version in versions_of(client, model_name) if pipeline_run else ():
        if wanted.items() <= version.tags.items():
            return str(version.version), str(version.run_id)
    return "", ""


def _log_and_register(
    client: "MlflowClient",
    model_name: str,
    folder: Path,
    training: Mapping[str, Any],
    found: Summaries,
    artifacts: Mapping[str, Path],
    tags: Mapping[str, str],
    trained_in: str,
) -> tuple[str, str]:
    """Log a run whole, then make the version; a failure leaves a failed run and no version.

    The run is the training's own, which has the curves already, unless a version came of it before:
    then it would hold the files of two.
    """
    run_id = os.environ.get(INJECTED_RUN) or _free_run(client, model_name, trained_in)
    ours = not run_id
    if ours:
        name = tags.get("pipeline_run") or f"{model_name}-{time.strftime('%Y%m%d-%H%M%S')}"
        run = client.create_run(experiment_id(client, model_name), run_name=name)
        run_id = run.info.run_id
    try:
        history = [] if run_id == trained_in else training.get("history") or []
        _log_numbers(client, run_id, {**training, "history": history}, found, tags)
        client.log_artifacts(run_id, str(folder), MODEL_ARTIFACT)
        for target, source in artifacts.items():
            _log_file(client, run_id, source, target)
        _ensure_registered_model(client, model_name)
        version = client.create_model_version(
            model_name,
            source=f"runs:/{run_id}/{MODEL_ARTIFACT}",
            run_id=run_id,
            tags=dict(tags),
            description=description_of(folder),
        )
        try:
            client.set_registered_model_alias(model_name, CHALLENGER, version.version)
        except BaseException:
            client.delete_model_version(model_name, version.version)
            raise
    except BaseException:
        if ours:
            client.set_terminated(run_id, "FAILED")
        raise
    if ours:
        client.set_terminated(run_id, "FINISHED")
    return str(version.version), run_id


def _free_run(client: "MlflowClient", model_name: str, run_id: str) -> str:
    """The run, if it is in this MLflow and no version came of it; otherwise ''."""
    from mlflow.exceptions import MlflowException

    if not run_id or any(one.run_id == run_id for one in versions_of(client, model_name)):
        return ""
    try:
        return str(client.get_run(run_id).info.run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return ""


def _log_numbers(
    client: "MlflowClient",
    run_id: str,
    training: Mapping[str, Any],
    found: Summaries,
    tags: Mapping[str, str],
) -> None:
    """Log the options as parameters, scores and training curves as metrics, lineage as tags."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    options = {"max_tokens": training.get("max_tokens"), **training.get("options", {})}
    parameters = [Param(str(key), str(value)[:6000]) for key, value in options.items()]
    scores = numbers_of(found.evaluation) | numbers_of(found.explanation, "explanation")
    metrics = [Metric(metric_key(name), value, now, 0) for name, value in scores.items()]
    metrics += [
        Metric(metric_key(f"training.{key}"), value, now, int(record.get("step", position)))
        for position, record in enumerate(training["history"])
        for key, value in numbers_of(record).items()
        if key != "step"
    ]
    metrics += [
        Metric(metric_key(f"speed.{key}"), value, now, 0)
        for key, value in numbers_of(training.get("speed", {})).items()
    ]
    named = [RunTag(key, value) for key, value in tags.items()]
    log_in_batches(client, run_id, metrics=metrics, params=parameters, tags=named)


def _log_file(client: "MlflowClient", run_id: str, source: Path, target: str) -> None:
    """Log one file under the name that the registry knows it by."""
    where = Path(target)
    with tempfile.TemporaryDirectory() as folder:
        # MLflow keeps a file's own name; KFP calls each artifact by its output's name.
        named = Path(folder) / where.name
        shutil.copyfile(source, named)
        client.log_artifact(run_id, str(named), str(where.parent) if len(where.parts) > 1 else None)


def _ensure_registered_model(client: "MlflowClient", model_name: str) -> None:
    """Make the registered model if it is missing."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
