"""Where a step keeps what must outlive it: one that is killed and starts again goes on from it."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

CHECKPOINT_DIR = "CHECKPOINT_DIR"
"""Environment variable that names the folder for what must outlive a killed step."""


def place_for(*facts: Any) -> Path | None:
    """A folder below `CHECKPOINT_DIR` for what these JSON-ready facts decide; None if unset."""
    root = os.environ.get(CHECKPOINT_DIR)
    if not root:
        return None
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    return Path(root) / name
