"""Checkpoints: one safetensors file, replaced in one rename, from which a run goes on exactly.

Tensors and numbers travel in the same file (the numbers as JSON in its header), so there is no
moment at which half of a state is new. Nothing is pickled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.files import replaced_when_whole

if TYPE_CHECKING:
    import torch

FILE_NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one run.

    Attributes:
        folder: Holds the file; made when it is first written.
        key: Names the run (data, base model, options); only that run reads the checkpoint again.
    """

    folder: Path
    key: str

    def save(self, tensors: "dict[str, torch.Tensor]", progress: dict[str, Any]) -> None:
        """Write over the one before."""
        from safetensors.torch import save_file

        with replaced_when_whole(self.folder / FILE_NAME) as draft:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                draft,
                metadata={"key": self.key, "progress": json.dumps(progress, allow_nan=False)},
            )

    def load(self) -> "tuple[dict[str, torch.Tensor], dict[str, Any]] | None":
        """What `save` wrote; None if there is nothing, or only what is damaged or another run's."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as stored:
                notes = stored.metadata() or {}
                if notes.get("key") != self.key:
                    return None
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
                return tensors, json.loads(notes["progress"])
        except (SafetensorError, OSError, KeyError, ValueError):
            return None

    def remove(self) -> None:
        """Delete it, if there is one: the run has finished."""
        (self.folder / FILE_NAME).unlink(missing_ok=True)
