"""Checkpoints: one safetensors file, replaced in one rename, from which a run goes on exactly.

Tensors and numbers travel in the same file (the numbers as JSON in its header), so there is no
moment at which half of a state is new. Nothing is pickled.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.files import replaced_when_whole

if TYPE_CHECKING:
    import torch

FILE_NAME = "checkpoint.safetensors"


def save_checkpoint(
    folder: str | Path, key: str, tensors: "dict[str, torch.Tensor]", progress: dict[str, Any]
) -> None:
    """Write a checkpoint over the one before.

    Args:
        folder: Made if missing.
        key: Names the run (data, base model, options); only that run reads the checkpoint again.
        tensors: State by name; copied to the CPU.
        progress: JSON-ready state: step, history, ...
    """
    from safetensors.torch import save_file

    with replaced_when_whole(Path(folder) / FILE_NAME) as draft:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            draft,
            metadata={"key": key, "progress": json.dumps(progress, allow_nan=False)},
        )


def load_checkpoint(
    folder: str | Path, key: str
) -> "tuple[dict[str, torch.Tensor], dict[str, Any]] | None":
    """Read the checkpoint of a run.

    Args:
        folder: As given to `save_checkpoint`.
        key: As given to `save_checkpoint`.

    Returns:
        Tensors and progress; None if there is no checkpoint, or only one of another run or one
        that is damaged, from which a run must not go on.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            notes = stored.metadata() or {}
            if notes.get("key") != key:
                return None
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            return tensors, json.loads(notes["progress"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def remove_checkpoint(folder: str | Path) -> None:
    """Delete the checkpoint of a finished run; nothing happens if there is none."""
    (Path(folder) / FILE_NAME).unlink(missing_ok=True)
