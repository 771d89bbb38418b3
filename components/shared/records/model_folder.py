"""The model folder: what training writes and evaluation, registry and serving read."""

import math
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.records.decision import Calibration
from components.shared.records.file_list import difference
from components.shared.records.sparse_model import FEATURES, SPARSE

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TRAINING = "training.json"
CALIBRATION = "calibration.json"
MODEL_CARD = "README.md"

NO_CHAMPION = "no_champion.txt"
"""Stands alone in the folder that says that there is no champion: object storage has no empty
folders, so an artifact must hold something."""

TRANSFORMER = "transformer"
"""The kind of a folder with the weights of a network and its tokenizer; the other is `SPARSE`."""

FILES_OF_KIND: dict[str, tuple[str, ...]] = {
    TRANSFORMER: (WEIGHTS, CONFIG, TOKENIZER, TRAINING, CALIBRATION),
    SPARSE: (WEIGHTS, CONFIG, FEATURES, TRAINING, CALIBRATION),
}
"""The files of each kind of model folder."""


def kind_of(folder: str | Path) -> str:
    """`SPARSE` or `TRANSFORMER`, by `model_type` in `config.json`; the latter where none is."""
    try:
        config = read_json(Path(folder) / CONFIG)
    except UserError:  # Whoever needs the file says what is wrong with it.
        config = {}
    is_sparse = isinstance(config, dict) and config.get("model_type") == SPARSE
    return SPARSE if is_sparse else TRANSFORMER


def check_model_folder(folder: str | Path, digest: str = "") -> Path:
    """Return the folder as a path, if it is whole, makes sense, and is what was registered.

    Args:
        folder: A model folder.
        digest: Digest of the list of its files in the registry; see `file_list.difference`.

    Raises:
        UserError: If a file is missing, one was added, removed or changed after registration, or a
            value in it makes no sense.
    """
    folder = Path(folder)
    kind = kind_of(folder)
    missing = [name for name in FILES_OF_KIND[kind] if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} is not a whole model folder: {', '.join(missing)} missing; train again"
        )
    if changed := difference(folder, digest):
        raise UserError(
            f"{folder} is not what was registered: {changed}; fetch the version again, or register "
            "the model again"
        )
    config, offsets = read_json(folder / CONFIG), read_calibration(folder).decision_offsets
    if not isinstance(config, dict):
        raise _senseless(folder / CONFIG, "it is not a JSON object")
    names = read_class_names(folder)
    if len(set(names)) != len(names) or len(names) != (len(offsets) or len(names)):
        listed = ", ".join(names)
        raise _senseless(folder / CONFIG, f"its labels are {listed}, for {len(offsets)} classes")
    facts = read_json(folder / TRAINING)
    max_tokens = facts.get("max_tokens") if isinstance(facts, dict) else None
    if kind == SPARSE and max_tokens != 0:
        raise _senseless(folder / TRAINING, f"max_tokens is {max_tokens!r}, but nothing is cut (0)")
    if kind == TRANSFORMER and (not isinstance(max_tokens, int) or max_tokens < 2):
        raise _senseless(folder / TRAINING, f"max_tokens is {max_tokens!r}, not a number of tokens")
    if max_tokens > (config.get("max_position_embeddings") or math.inf):
        raise _senseless(folder / TRAINING, f"the network cannot read max_tokens {max_tokens}")
    return folder


def read_calibration(folder: str | Path) -> Calibration:
    """The calibration of the model in a folder; `UserError` if it makes no sense."""
    path = Path(folder) / CALIBRATION
    try:
        calibration = Calibration.from_dict(read_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise _senseless(path, f"it holds no calibration ({error!r})") from None
    for temperature in (calibration.temperature, calibration.folded_temperature):
        if not 0 < temperature < math.inf:
            raise _senseless(path, f"temperature is {temperature}, not above 0")
    if not all(map(math.isfinite, calibration.decision_offsets)):
        raise _senseless(path, f"decision_offsets are {calibration.decision_offsets}, not finite")
    return calibration


def read_class_names(folder: str | Path) -> tuple[str, ...]:
    """Names of the classes in the order of the logits, from `config.json` of a model folder.

    Raises:
        UserError: If it names none.
    """
    named = read_json(Path(folder) / CONFIG).get("id2label") or {}
    names = tuple(str(named.get(str(index), "")) for index in range(len(named)))
    if len(names) < 2 or not all(names):
        raise UserError(
            f"{Path(folder) / CONFIG} does not name the classes (id2label); train again"
        )
    return names


def read_training_facts(folder: str | Path) -> dict[str, Any]:
    """`training.json` of a model folder: options, max_tokens, facts about data and code, history.

    Keys that every model folder has: `options`, `facts` (data_fingerprint, feature_service,
    code_version, ...), `max_tokens` (0: whole texts are read), `class_prior` (training frequencies
    in class order), `history`, `speed`, `splits` and
    `test_split` (see `splits_digest`).
    """
    facts: dict[str, Any] = read_json(Path(folder) / TRAINING)
    return facts


def _senseless(file: Path, why: str) -> UserError:
    return UserError(f"{file} makes no sense: {why}; fetch the version again, or train again")
