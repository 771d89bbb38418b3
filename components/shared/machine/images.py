"""The one place that says which image each kind of step runs in.

Read when a pipeline is compiled: set `IMAGE_REGISTRY` and `IMAGE_TAG` to point a build elsewhere.
A step that starts pods of its own is given both, so that they run in the same images.
"""

import os

REGISTRY = os.environ.get("IMAGE_REGISTRY") or "ghcr.io/review-sentiment"
TAG = os.environ.get("IMAGE_TAG") or "0.1.0"

STEP_IMAGE = f"{REGISTRY}/steps:{TAG}"
"""Everything but GPUs: data, features, training on CPUs, evaluation, registry, deployment."""

TRAINING_IMAGE = f"{REGISTRY}/training:{TAG}"
"""Training on GPUs: CUDA."""

PREDICTOR_IMAGE = f"{REGISTRY}/predictor:{TAG}"
"""The model server."""


def training_image(gpus_per_node: int) -> str:
    """The image that trains with so many GPUs; a cluster without any needs no CUDA image."""
    return TRAINING_IMAGE if gpus_per_node > 0 else STEP_IMAGE
