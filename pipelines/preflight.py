"""The preflight pipeline: what the steps of the others rely on, tried under the same settings."""

from kfp import dsl

from components.preflight.component import check_from_inside, check_training_image, start_predictor
from components.shared.machine.images import predictor_image
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place


@pipeline(
    name="review-sentiment-preflight",
    description="Try from inside a cluster what the pipelines rely on.",
)
def preflight_pipeline(
    kfp_url: str = "http://ml-pipeline.kubeflow:8888", gpu: str = "yes", predictor: str = "yes"
) -> None:
    """Ask for what the steps reach, compute on a GPU, start the model server.

    Args:
        kfp_url: Address of Kubeflow Pipelines inside the cluster.
        gpu: `yes` computes on one in the training image.
        predictor: `yes` starts the model server's image, which only a cluster can.
    """
    place(check_from_inside(kfp_url=kfp_url))
    with dsl.If(gpu == "yes", name="gpu"):
        place(check_training_image())
    with dsl.If(predictor == "yes", name="predictor"):
        place(start_predictor()).set_container_image(predictor_image())
