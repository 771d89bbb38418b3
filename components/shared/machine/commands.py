"""The commands that messages tell the user to type."""

import os
import shlex
import sys
from pathlib import Path

STATE_VARIABLE = "LOCAL_STATE"
"""Environment variable with the state folder of a run on one machine."""

MODEL_NAME, STATE = "review-sentiment", "state"
"""What make takes where nothing is named."""


def make_command(target: str, model_name: str = MODEL_NAME, **variables: object) -> str:
    """The line that works for this model and this state folder: what differs from make's own.

    >>> make_command("approve", "sentiment-fr", VERSION=2)
    'make approve VERSION=2 MODEL_NAME=sentiment-fr'
    """
    if model_name != MODEL_NAME:
        variables["MODEL_NAME"] = model_name
    state = os.environ.get(STATE_VARIABLE) or STATE
    if Path(state).resolve() != Path(STATE).resolve():
        variables["STATE"] = state
    given = [f"{name}={shlex.quote(str(value))}" for name, value in variables.items()]
    return " ".join(["make", target, *given])


def install_command(extra: str) -> str:
    """The line that installs an extra of this project at the pinned versions."""
    return f"{sys.prefix}/bin/pip install -c constraints.txt -e '.[{extra}]'"
