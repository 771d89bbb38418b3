"""The steps of the preflight's pipeline. They report what they saw, and never fail for it."""

from kfp import dsl
from kfp.dsl import Artifact, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def check_from_inside(kfp_url: str, findings: Output[Artifact]) -> None:
    """Try from a step's pod what the steps rely on.

    Args:
        kfp_url: Address of Kubeflow Pipelines inside the cluster.
        findings: What was seen, as a JSON list.
    """
    import os
    from dataclasses import asdict

    from components.preflight.finding import try_and_print
    from components.preflight.inside import CHECKS, KFP_VARIABLE
    from components.shared.machine.files import write_json

    os.environ[KFP_VARIABLE] = kfp_url
    write_json(findings.path, [asdict(finding) for finding in try_and_print(CHECKS)])


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def check_training_image() -> None:
    """Compute on a GPU in the training image."""
    from components.preflight.finding import try_and_print
    from components.preflight.gpu import check_gpu

    try_and_print([("GPU", check_gpu)])


@dsl.container_component
def start_predictor() -> dsl.ContainerSpec:
    """Import the model server in its own image, which holds nothing of KFP."""
    return dsl.ContainerSpec(
        image=STEP_IMAGE, command=["python", "-c", "import components.serving"]
    )
