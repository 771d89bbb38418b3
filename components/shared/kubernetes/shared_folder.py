"""What launched pods read and write: a folder on the volume that they share with the step."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.kubernetes.namespace_objects import STATE_CLAIM, STATE_PATH, STATE_VARIABLE
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, sha256_of_file, write_json
from components.shared.records.model_folder import check_model_folder, read_training_facts

TRAINING_SET, FACTS = "training_set.parquet", "facts.json"
"""Names in the folder: what the pods read."""

MODEL, CHECKPOINTS = "model", "checkpoints"
"""Names in the folder: what the pods write at the end, and meanwhile."""

LAUNCHED = "launched"
"""Folder of the volume with one folder for each thing that a step launched, by its name."""

KEPT_DAYS = 14
"""How long the folder of a training that never succeeded is kept for a retry of its run."""

_DAY_SECONDS = 86400


@dataclass(frozen=True)
class SharedFolder:
    """The folder of one TrainJob or Experiment.

    Attributes:
        path: As this step sees it.
        in_pods: As the launched pods see it.
    """

    path: Path
    in_pods: str

    @classmethod
    def of(cls, name: str) -> "SharedFolder":
        """The folder of the TrainJob or Experiment of this name; made if it is not there.

        Raises:
            UserError: If there is no shared volume, or this step may not write to it.
        """
        mounted = os.environ.get(STATE_VARIABLE)
        if not mounted:
            raise UserError(
                f"{STATE_VARIABLE} is not set, so there is no volume through which launched pods "
                f"get their data; mount the claim {STATE_CLAIM}, set {STATE_VARIABLE} to where it "
                "is, or train on one node with at most one GPU"
            )
        path = Path(mounted) / LAUNCHED / name
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise UserError(
                f"the shared volume at {mounted} cannot be written to ({error.strerror}); let the "
                f"claim {STATE_CLAIM} belong to the group that the steps run as"
            ) from None
        return cls(path, f"{STATE_PATH}/{LAUNCHED}/{name}")

    @property
    def model(self) -> Path:
        """The model folder that training writes, in one rename, when it is done."""
        return self.path / MODEL

    def put(self, training_set: str | Path, facts: Mapping[str, Any]) -> None:
        """Copy a training set to where the pods read it, unless it is there; write the facts."""
        kept = self.path / TRAINING_SET
        if not (kept.is_file() and sha256_of_file(kept) == sha256_of_file(training_set)):
            # A model or checkpoint of other data is of no use.
            shutil.rmtree(self.model, ignore_errors=True)
            with replaced_when_whole(kept) as draft:
                shutil.copyfile(training_set, draft)
        write_json(self.path / FACTS, dict(facts))

    def holds_model(self) -> bool:
        """Whether a model folder is here; any is whole."""
        # Listed, because NFS remembers for a minute that there was none of that name.
        return self.model in self.path.iterdir()

    def holds_model_of(
        self, base_model: str, options: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> bool:
        """Whether the model here is what training with these, and the set here, would make."""
        if not self.holds_model():
            return False
        made = read_training_facts(self.model)
        return (
            made.get("base_model") == base_model
            and made.get("options") == dict(options)
            and dict(facts).items() <= made.get("facts", {}).items()
        )

    def take_model(self, model_folder: str | Path) -> None:
        """Copy the model to another folder, in one rename; `UserError` if it is not whole."""
        check_model_folder(self.model)
        with replaced_when_whole(model_folder) as draft:
            shutil.copytree(self.model, draft)

    def give_up(self) -> bool:
        """Delete the folder unless a retry can go on from what is in it; whether it is deleted."""
        if self.holds_model() or any((self.path / CHECKPOINTS).glob("[!.]*")):
            return False
        self.remove()
        return True

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_forgotten(self, prefix: str, now: float | None = None) -> list[str]:
        """Delete the folders of trainings that failed and were not retried for long; their names.

        Only those whose names begin with the prefix; `now` is in seconds since 1970.
        """
        oldest = (time.time() if now is None else now) - KEPT_DAYS * _DAY_SECONDS
        gone = []
        for folder in self.path.parent.glob(f"{prefix}*"):
            if folder != self.path and _last_change(folder) < oldest:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        return gone


def _last_change(folder: Path) -> float:
    """When something was last written to a folder or to one directly in it; seconds since 1970."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        # Another step has just deleted it.
        return time.time()
