"""The model folder: what training writes and evaluation, registry and serving read."""

from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.records.decision import Calibration

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TRAINING = "training.json"
CALIBRATION = "calibration.json"
MODEL_CARD = "model_card.md"

NO_CHAMPION = "no_champion.txt"
"""Stands alone in the folder that says that there is no champion: object storage has no empty
folders, so an artifact must hold something."""

REQUIRED_FILES: tuple[str, ...] = (WEIGHTS, CONFIG, TOKENIZER, TRAINING, CALIBRATION, MODEL_CARD)


def check_model_folder(folder: str | Path) -> Path:
    """Return the folder as a path; `UserError` if it is not a whole model folder."""
    folder = Path(folder)
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} is not a whole model folder: {', '.join(missing)} missing; train again"
        )
    return folder


def read_calibration(folder: str | Path) -> Calibration:
    """The calibration of the model in a folder."""
    return Calibration.from_dict(read_json(Path(folder) / CALIBRATION))


def read_training_facts(folder: str | Path) -> dict[str, Any]:
    """`training.json` of a model folder: options, max_tokens, facts about data and code, history.

    Keys that every model folder has: `options`, `facts` (data_fingerprint, feature_service,
    code_version, ...), `max_tokens`, `class_prior` (training frequencies in class order),
    `history`, `speed`.
    """
    facts: dict[str, Any] = read_json(Path(folder) / TRAINING)
    return facts
