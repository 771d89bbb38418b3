"""The forward pass in torch: the reference on CPUs, the engine on GPUs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.first_token_layer import compute_first_token_only
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.engines import TORCH


class TorchEngine:
    """The weights of a model folder in torch; fp32 on CPUs, bf16 on GPUs.

    Attributes:
        name: `torch`.
        parallel: 1: a forward pass uses all cores, or the GPU, by itself.
    """

    name = TORCH
    parallel = 1

    def __init__(self, model_folder: Path, threads: int) -> None:
        """Load the weights.

        Args:
            model_folder: A whole model folder.
            threads: Cores that a forward pass may use.

        Raises:
            UserError: If the weights cannot be loaded.
        """
        import torch

        torch.set_num_threads(threads)
        self._model = load_model(model_folder)
        if self._model.device.type == "cuda":
            self._model.to(torch.bfloat16)
        compute_first_token_only(self._model)

    def logits(self, input_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [n, classes] of n rows of token ids."""
        return predict_logits(self._model, input_ids)
