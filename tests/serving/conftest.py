"""A whole model folder around the tiny BERT."""

import shutil
from pathlib import Path

import pytest

from components.contracts.files import write_json


@pytest.fixture(scope="session")
def served_folder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    shutil.copytree(tiny_bert, folder)
    write_json(
        folder / "training.json",
        {
            "options": {},
            "facts": {},
            "max_tokens": 32,
            "class_prior": [0.1, 0.1, 0.8],
            "history": [],
            "speed": {},
        },
    )
    write_json(
        folder / "calibration.json",
        {"temperature": 1.5, "decision_offsets": [0.0, 0.002, 0.001]},
    )
    (folder / "model_card.md").write_text("# A tiny model\n")
    return folder
