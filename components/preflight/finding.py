"""What a check found: one line for the reader, and the command that mends it."""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a check ended. Only `FAILED` keeps the pipelines from running."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was checked, in a word or two.
        state: How it stands.
        told: What was found, in words.
        remedy: Command to type, or several, one a line; empty where nothing is to be done.
    """

    name: str
    state: State
    told: str
    remedy: str = ""


def ok(name: str, told: str) -> Finding:
    """All is well."""
    return Finding(name, State.OK, told)


def warning(name: str, told: str, remedy: str = "") -> Finding:
    """The pipelines run, but not all of them, or not as they should."""
    return Finding(name, State.WARNING, told, remedy)


def failed(name: str, told: str, remedy: str = "") -> Finding:
    """The pipelines cannot run."""
    return Finding(name, State.FAILED, told, remedy)


def not_checked(name: str, why: str, remedy: str = "") -> Finding:
    """Nothing is known."""
    return Finding(name, State.NOT_CHECKED, why, remedy)
