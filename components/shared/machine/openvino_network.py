"""A sequence classifier as a network for OpenVINO, and rows of token ids as it takes them."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.first_token_layer import compute_first_token_only

if TYPE_CHECKING:
    from openvino import Model
    from transformers import PreTrainedModel

_WIDTH_STEP = 4
"""Rows are padded to a multiple of this many tokens. OpenVINO keeps compiled kernels for each shape
that it meets; fewer shapes need less memory, for a few more tokens."""


def converted(model: "PreTrainedModel", pad_id: int) -> "Model":
    """The model as an OpenVINO network from ids and mask to logits, of any batch and length."""
    import openvino
    import torch

    class Logits(torch.nn.Module):
        """The model with tensors in and a tensor out, as tracing wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.network(input_ids=input_ids, attention_mask=attention_mask).logits

    compute_first_token_only(model)
    # Two rows, of which one is padded: a mask of ones alone would be traced away.
    tokens, mask = map(torch.from_numpy, padded([[pad_id] * 12, [pad_id] * 7], pad_id))
    with torch.no_grad(), warnings.catch_warnings():
        # Tracing warns of each shape that transformers compares; the check would see a wrong one.
        warnings.simplefilter("ignore")
        return openvino.convert_model(
            Logits().eval(), example_input={"input_ids": tokens, "attention_mask": mask}
        )


def padded(
    input_ids: Sequence[Sequence[int]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask [n, width], int64, of n rows of token ids.

    The mask is 1 where there is a token; the width is that of the longest row, rounded up.
    """
    width = -(-max(map(len, input_ids)) // _WIDTH_STEP) * _WIDTH_STEP
    tokens = np.full((len(input_ids), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(input_ids), width), dtype=np.int64)
    for row, ids in enumerate(input_ids):
        tokens[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return tokens, mask
