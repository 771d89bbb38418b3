"""The one place that says which image each kind of step runs in, and which code it holds.

`IMAGE_REGISTRY` and `IMAGE_TAG` point a build elsewhere. They are read when a pipeline is compiled,
and a step that starts pods of its own is given both, so that they run in the same images.
"""

import os
from importlib.metadata import PackageNotFoundError, version

STEP_IMAGE = "ghcr.io/review-sentiment/steps:0.1.0"
"""What components declare; `place` sets the image of the environment."""


def image_variables() -> dict[str, str]:
    """Registry and tag of the images by environment variable."""
    return {
        "IMAGE_REGISTRY": os.environ.get("IMAGE_REGISTRY") or "ghcr.io/review-sentiment",
        "IMAGE_TAG": os.environ.get("IMAGE_TAG") or "0.1.0",
    }


def _image(name: str) -> str:
    variables = image_variables()
    return f"{variables['IMAGE_REGISTRY']}/{name}:{variables['IMAGE_TAG']}"


def step_image() -> str:
    """Everything but GPUs: data, features, training on CPUs, evaluation, registry, deployment."""
    return _image("steps")


def training_image(gpus_per_node: int) -> str:
    """The image that trains with so many GPUs: with CUDA only where there are any."""
    return _image("training") if gpus_per_node > 0 else step_image()


def predictor_image() -> str:
    """The model server."""
    return _image("predictor")


def code_version() -> str:
    """`CODE_VERSION`, the commit of checkout or image; else the package's version; or `unknown`."""
    if given := os.environ.get("CODE_VERSION"):
        return given
    try:
        return version("review-sentiment")
    except PackageNotFoundError:
        return "unknown"
