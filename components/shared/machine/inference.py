"""A model's logits for tokenised reviews: one forward pass for training and evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


_WIDTH_STEP = 16


def shared_width(longest: int, widest: int) -> int:
    """Tokens to which the rows of a batch are filled up: a multiple of 16, at most `widest`.

    Kernels and blocks of memory are made for each shape that a process meets. With a width of its
    own for every batch they pile up: steps slow down and memory grows as a run goes on.
    """
    return max(longest, min(-(-longest // _WIDTH_STEP) * _WIDTH_STEP, widest))


def load_model(folder: str | Path) -> "PreTrainedModel":
    """Load a sequence classifier in fp32 and evaluation mode, on the GPU where there is one.

    Raises `UserError` if the folder holds no safetensors weights or no readable model.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    folder = Path(folder)
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder} holds no *.safetensors weights; give a folder that training wrote "
            "(pickled weights are never loaded)"
        )
    bars_were_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(f"{folder} cannot be loaded as a model ({first_line})") from None
    finally:
        if bars_were_on:
            transformers_logging.enable_progress_bar()
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return model.eval()


def predict_logits(
    model: "PreTrainedModel",
    input_ids: Sequence[Sequence[int]],
    *,
    batch_tokens: int = 4096,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Logits of tokenised reviews, without dropout, in the order given.

    Rows of like length share a batch, so that little is padded; padding is masked out.

    Args:
        model: A sequence classifier; its training mode is restored afterwards.
        input_ids: One sequence of token ids per review, special tokens included, unpadded.
        batch_tokens: Most tokens in a batch, padding included; a longer row goes alone.
        progress: Whether to show a progress bar with rate and time left.

    Returns:
        [n, classes], float32; `ValueError` if a row holds no tokens.
    """
    import torch
    from tqdm import tqdm

    lengths = np.fromiter((len(row) for row in input_ids), dtype=np.int64, count=len(input_ids))
    if len(lengths) and lengths.min() == 0:
        raise ValueError(f"row {int(lengths.argmin())} of input_ids holds no tokens")
    logits = np.empty((len(lengths), model.config.num_labels), dtype=np.float32)
    pad_id = model.config.pad_token_id or 0
    was_training = model.training
    model.eval()
    try:
        bar = tqdm(total=len(lengths), unit=" reviews", disable=not progress)
        with torch.inference_mode(), bar:
            for rows in _batches(lengths, batch_tokens):
                width = shared_width(int(lengths[rows].max()), int(lengths.max()))
                tokens = np.full((len(rows), width), pad_id, dtype=np.int64)
                for line, row in enumerate(rows):
                    tokens[line, : lengths[row]] = input_ids[row]
                mask = np.arange(width) < lengths[rows][:, None]
                outputs = model(
                    input_ids=torch.from_numpy(tokens).to(model.device),
                    attention_mask=torch.from_numpy(mask.astype(np.int64)).to(model.device),
                )
                logits[rows] = outputs.logits.float().cpu().numpy()
                bar.update(len(rows))
    finally:
        model.train(was_training)
    return logits


def fast_precision(device: "torch.device") -> str:
    """`bf16` where the device multiplies it faster than fp32, else `fp32`."""
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # bf16 dot products or tiles of a CPU; emulated bf16 is slower than fp32.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_sve_bf16_supported")
    multiplies_bf16 = any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
    return "bf16" if multiplies_bf16 else "fp32"


def _batches(lengths: NDArray[np.int64], batch_tokens: int) -> list[NDArray[np.int64]]:
    """Row numbers of each batch, longest rows first (memory is met at its highest at once)."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        width = shared_width(int(lengths[order[start]]), int(lengths[order[0]]))
        size = max(1, batch_tokens // width)
        batches.append(order[start : start + size])
        start += size
    return batches
