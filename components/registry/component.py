"""The registry's steps in a pipeline."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def fetch_champion(model_name: str, champion: Output[Model]) -> NamedTuple("Outputs", version=str):  # type: ignore[valid-type]
    """Fetch the model that serves now, to compare the new one with it.

    Args:
        model_name: Registered model.
        champion: The champion's model folder, or a note that there is no champion yet.

    Returns:
        version: The champion's version; empty if there is none yet.
    """
    from typing import NamedTuple

    from components.registry.versions import fetch_champion as fetch
    from components.shared.records.file_list import folder_digest

    version = fetch(model_name, champion.path)
    champion.metadata.update(version=version, digest=version and folder_digest(champion.path))
    return NamedTuple("Outputs", version=str)(version)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def register_model(
    model: Input[Model],
    evaluation_summary: Input[Artifact],
    bias_summary: Input[Artifact],
    explanation_summary: Input[Artifact],
    label_noise_summary: Input[Artifact],
    ingest_summary: Input[Artifact],
    predictions: Input[Dataset],
    model_name: str,
    approval: str,
    data_fingerprint: str,
    feature_service: str,
    pipeline_run: str,
    registration: Output[Artifact],
    registered: Output[Model],
) -> NamedTuple("Outputs", version=str):  # type: ignore[valid-type]
    """Register the model as a new version with its scores, lineage and files.

    Args:
        model: The model folder.
        evaluation_summary: Scores of the evaluation, JSON.
        bias_summary: What differs between groups of reviews; for the model card, as what follows.
        explanation_summary: How well explanations tell what the answers rest on.
        label_noise_summary: How many labels are in doubt.
        ingest_summary: Where the reviews come from.
        predictions: Predictions for the test split, Parquet.
        model_name: Registered model.
        approval: auto, or manual: then the version waits for a person.
        data_fingerprint: Fingerprint of the data that the model was trained on.
        feature_service: Feature service that the training set was read through.
        pipeline_run: Name of this run; the same run registers once.
        registration: What was registered, JSON.
        registered: The version's files, as the registry holds them.

    Returns:
        version: The model version.
    """
    from typing import NamedTuple

    from components.registry.registration import register
    from components.shared.records.file_list import folder_digest

    summaries = {
        "evaluation": evaluation_summary,
        "bias": bias_summary,
        "explanation": explanation_summary,
        "label_noise": label_noise_summary,
        "ingest": ingest_summary,
    }
    result = register(
        model.path,
        {name: of.path for name, of in summaries.items()},
        predictions.path,
        registration.path,
        model_name=model_name,
        approval=approval,
        facts={
            "data_fingerprint": data_fingerprint,
            "feature_service": feature_service,
            "pipeline_run": pipeline_run,
            "mlflow_run": model.metadata.get("mlflow_run", ""),
        },
        registered=registered.path,
    )
    registration.metadata["version"] = result.version
    registration.metadata["approval"] = result.approval
    registered.metadata.update(version=result.version, digest=folder_digest(registered.path))
    return NamedTuple("Outputs", version=str)(result.version)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def fetch_version(
    model_name: str,
    version: str,
    model: Output[Model],
    predictions: Output[Dataset],
    approved_only: bool = False,
) -> NamedTuple("Outputs", version=str):  # type: ignore[valid-type]
    """Fetch a registered version and its test predictions.

    Args:
        model_name: Registered model.
        version: A number, or champion, challenger or previous.
        approved_only: Refuse a version that waits for approval.
        model: The version's model folder.
        predictions: The version's predictions for the test split.

    Returns:
        version: The version's number.
    """
    from typing import NamedTuple

    from components.registry.versions import fetch_version as fetch
    from components.shared.records.file_list import folder_digest

    number = fetch(model_name, version, model.path, predictions.path, approved_only=approved_only)
    model.metadata.update(version=number, digest=folder_digest(model.path))
    return NamedTuple("Outputs", version=str)(number)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def promote_model(model_name: str, version: str, approved_by: str = "") -> None:
    """Make a version the champion; the one before it becomes `previous`.

    Args:
        model_name: Registered model.
        version: A number, or challenger or previous.
        approved_by: Who approves a version that waits for it; empty if it is approved already.
    """
    from components.registry.versions import approve, promote

    if approved_by:
        approve(model_name, version, approved_by)
    promote(model_name, version)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def record_rollout(
    model_name: str, version: str, decision: str, reason: str, stable_version: str
) -> None:
    """Record in the registry which version serves after a rollout.

    Args:
        model_name: Registered model.
        version: The version that was rolled out.
        decision: promote, roll_back, first_deployment or already_serving.
        reason: Why; stored with the version.
        stable_version: The version that serves after a rollback.
    """
    from components.registry.versions import record_rollout as record

    record(model_name, version, decision, reason, stable_version)
