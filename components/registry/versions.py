"""Versions of a model: fetching them, approving them, and which of them is the champion."""

import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.commands import make_command
from components.shared.machine.errors import NotApproved, UserError
from components.shared.machine.files import replaced_when_whole
from components.shared.machine.tracking import errors_in_words, tracking_client
from components.shared.records.file_list import difference
from components.shared.records.model_folder import NO_CHAMPION, check_model_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

CHAMPION = "champion"
"""Alias of the version that serves."""
CHALLENGER = "challenger"
"""Alias of the newest version that is not the champion."""
PREVIOUS = "previous"
"""Alias of the version that was champion before."""

MODEL_ARTIFACT = "model"
"""Folder of a run's artifacts that holds the model folder."""
PREDICTIONS_ARTIFACT = "evaluation/predictions.parquet"
"""The test predictions among a run's artifacts."""

FOLDER_DIGEST = "folder_digest"
"""Tag of a version: the digest of the list of its files."""

_CAME_TO_SERVE = ("promote", "first_deployment")
"""Decisions of a rollout after which its version serves."""


class Approval(StrEnum):
    """Whether a version may become champion."""

    PENDING = "pending"
    APPROVED = "approved"


@dataclass(frozen=True)
class Version:
    """One version."""

    version: str  # number, as text
    aliases: tuple[str, ...]  # such as `champion`
    created: float  # seconds since the epoch
    run_id: str  # MLflow run that holds its parameters, metrics and artifacts
    tags: dict[str, str]  # lineage, scores, approval and digests


def fetch_champion(model_name: str, champion: str | Path) -> str:
    """Download the champion's model folder to `champion`; return its version, "" without one.

    Without a champion the folder holds the note `NO_CHAMPION` alone.

    Raises:
        UserError: If MLflow cannot be reached or the folder is not what was registered.
    """
    client = tracking_client()
    with errors_in_words():
        version = _aliases(client, model_name).get(CHAMPION, "")
        if version:
            download_model(client, version_by(client, model_name, version), Path(champion))
            logger.info("the champion of %s is version %s", model_name, version)
            return version
    with replaced_when_whole(champion) as draft:
        draft.mkdir()
        (draft / NO_CHAMPION).write_text(f"{model_name} has no champion yet\n", encoding="utf-8")
    logger.info("%s has no champion yet", model_name)
    return ""


def fetch_version(
    model_name: str,
    version: str,
    model: str | Path,
    predictions: str | Path,
    *,
    approved_only: bool = False,
) -> str:
    """Download the model folder and the test predictions of a version; return its number.

    Raises:
        UserError: If there is no such version, it waits for approval, MLflow cannot be reached,
            or the folder is not what was registered.
    """
    client = tracking_client()
    with errors_in_words():
        registered = version_by(client, model_name, version)
        if approved_only:
            _check_approved(registered)
        download_model(client, registered, Path(model))
        with replaced_when_whole(predictions) as draft:
            downloaded = client.download_artifacts(
                registered.run_id, PREDICTIONS_ARTIFACT, str(draft.parent)
            )
            Path(downloaded).rename(draft)
    return str(registered.version)


def approve(model_name: str, version: str, approved_by: str) -> None:
    """Allow a version (a number or an alias) to become champion.

    Raises:
        UserError: If there is no such version, or nobody is named.
    """
    if not approved_by.strip():
        raise UserError(f"say who approves version {version} of {model_name}")
    client = tracking_client()
    with errors_in_words():
        registered = version_by(client, model_name, version)
        if registered.tags.get("approval") == Approval.APPROVED:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        client.set_model_version_tag(model_name, registered.version, "approved_by", approved_by)
        client.set_model_version_tag(model_name, registered.version, "approved_at", now)
        client.set_model_version_tag(model_name, registered.version, "approval", Approval.APPROVED)
    logger.info("version %s of %s approved by %s", registered.version, model_name, approved_by)


def promote(model_name: str, version: str) -> None:
    """Make an approved version the champion; the champion before it becomes `previous`.

    Raises:
        UserError: If there is no such version, or it is not approved.
    """
    client = tracking_client()
    with errors_in_words():
        registered = version_by(client, model_name, version)
        number = str(registered.version)
        _check_approved(registered)
        aliases = _aliases(client, model_name)
        champion = aliases.get(CHAMPION, "")
        if champion and champion != number:
            client.set_registered_model_alias(model_name, PREVIOUS, champion)
        client.set_registered_model_alias(model_name, CHAMPION, number)
        if aliases.get(CHALLENGER) == number:
            client.delete_registered_model_alias(model_name, CHALLENGER)
    logger.info("version %s is the champion of %s", number, model_name)


def record_rollout(
    model_name: str, version: str, decision: str, reason: str, stable_version: str
) -> None:
    """Record which version serves: promote one that was rolled out, demote one rolled back.

    The decision is `promote`, `first_deployment`, `already_serving` or `roll_back`; it is stored
    with its reason. After a rollback the stable version becomes champion again. Raises `UserError`
    if there is no such version.
    """
    if decision != "roll_back":
        promote(model_name, version)
    client = tracking_client()
    with errors_in_words():
        tried = version_by(client, model_name, version)
        number = str(tried.version)
        # "Already serving" says less than how the version came to serve.
        if decision != "already_serving" or tried.tags.get("rollout") not in _CAME_TO_SERVE:
            client.set_model_version_tag(model_name, number, "rollout", decision)
            client.set_model_version_tag(model_name, number, "rollout_reason", reason[:5000])
        if decision != "roll_back" or _aliases(client, model_name).get(CHAMPION) != number:
            return
        registered = {str(one.version) for one in versions_of(client, model_name)}
        if stable_version in registered - {number}:
            client.set_registered_model_alias(model_name, CHAMPION, stable_version)
            client.set_registered_model_alias(model_name, PREVIOUS, number)
            logger.info("version %s is the champion of %s again", stable_version, model_name)
        else:
            client.delete_registered_model_alias(model_name, CHAMPION)
            logger.info("%s has no champion: the serving version is not registered", model_name)


def list_versions(model_name: str) -> list[Version]:
    """All versions, newest first; empty if the model is not registered."""
    client = tracking_client()
    with errors_in_words():
        aliases = _aliases(client, model_name)
        versions = [_described(version, aliases) for version in versions_of(client, model_name)]
    return sorted(versions, key=lambda version: -int(version.version))


def show_version(model_name: str, version: str) -> Version:
    """One version, by number or alias.

    Raises:
        UserError: If there is no such version.
    """
    client = tracking_client()
    with errors_in_words():
        return _described(version_by(client, model_name, version), _aliases(client, model_name))


def _described(registered: "ModelVersion", aliases: dict[str, str]) -> Version:
    number = str(registered.version)
    return Version(
        version=number,
        aliases=tuple(sorted(alias for alias, of in aliases.items() if of == number)),
        created=registered.creation_timestamp / 1000,
        run_id=str(registered.run_id),
        tags=dict(registered.tags),
    )


def _aliases(client: "MlflowClient", model_name: str) -> dict[str, str]:
    """Version of each alias; empty if the model is not registered."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(model_name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {alias: str(version) for alias, version in aliases.items()}


def version_by(client: "MlflowClient", model_name: str, version: str) -> "ModelVersion":
    """A version by number or alias."""
    version = str(version).strip()
    number = _aliases(client, model_name).get(version, version)
    known = {str(one.version): one for one in versions_of(client, model_name)}
    if number not in known:
        has = f"versions {', '.join(sorted(known, key=int))}" if known else "no versions yet"
        raise UserError(f"{model_name} has no version {version!r}; it has {has}")
    return known[number]


def _check_approved(version: "ModelVersion") -> None:
    if version.tags.get("approval") != Approval.APPROVED:
        approve = make_command("approve", version.name, VERSION=version.version)
        raise NotApproved(
            f"version {version.version} of {version.name} waits for approval; run `{approve}`"
        )


def versions_of(client: "MlflowClient", model_name: str) -> "list[ModelVersion]":
    """All versions of a model, as MLflow gives them, page by page."""
    quoted = model_name.replace("'", "''")
    versions, token = [], None
    while True:
        page = client.search_model_versions(f"name='{quoted}'", page_token=token)
        versions += page
        token = page.token
        if not token:
            return versions


def download_model(client: "MlflowClient", version: "ModelVersion", target: Path) -> None:
    """Download a version's model folder and check that it is what was registered.

    Versions of earlier releases have the digest of their weights alone, and are checked by that.
    """
    digest = version.tags.get(FOLDER_DIGEST) or version.tags.get("model_digest", "")
    if not digest:
        raise UserError(
            f"version {version.version} of {version.name} has no digest in the registry, so that "
            "nobody can tell whether it was changed; register the model again"
        )
    with replaced_when_whole(target) as draft:
        downloaded = Path(
            client.download_artifacts(version.run_id, MODEL_ARTIFACT, str(draft.parent))
        )
        if changed := difference(downloaded, digest):
            raise UserError(
                f"version {version.version} of {version.name} is not what was registered: "
                f"{changed}; register the model again"
            )
        check_model_folder(downloaded)
        if downloaded != draft:
            downloaded.rename(draft)
