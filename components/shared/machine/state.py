"""Where what outlives a run lies, for code that has no folder handed to it."""

import os
from pathlib import Path

from components.shared.machine.commands import STATE, STATE_VARIABLE

REVIEW_VARIABLE = "REVIEW_DIR"
"""Environment variable with the folder of the review's items, votes and resolved labels."""


def has_state() -> bool:
    """Whether the environment names a folder for what outlives a run."""
    return any(os.environ.get(name) for name in (REVIEW_VARIABLE, STATE_VARIABLE, "STATE_DIR"))


def state_folder() -> Path:
    """The state folder of this machine, or the volume of that name on a cluster."""
    return Path(os.environ.get(STATE_VARIABLE) or os.environ.get("STATE_DIR") or STATE)


def review_folder() -> Path:
    """Folder with `items/`, `votes/` and `resolved/`: what people were asked and what they said."""
    named = os.environ.get(REVIEW_VARIABLE)
    return Path(named) if named else state_folder() / "review"
