"""The one place that says which image each kind of step runs in.

Read when a pipeline is compiled: set `IMAGE_REGISTRY` and `IMAGE_TAG` to point a build elsewhere.
"""

import os

_REGISTRY = os.environ.get("IMAGE_REGISTRY", "ghcr.io/review-sentiment")
_TAG = os.environ.get("IMAGE_TAG", "0.1.0")

STEP_IMAGE = f"{_REGISTRY}/steps:{_TAG}"
"""CPU steps: data, features, evaluation, registry, deployment."""

TRAINING_IMAGE = f"{_REGISTRY}/training:{_TAG}"
"""Fine-tuning and tuning: CUDA."""

PREDICTOR_IMAGE = f"{_REGISTRY}/predictor:{_TAG}"
"""The model server."""
