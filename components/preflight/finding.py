"""The outcome of a check: one line for the reader, and the command that fixes it."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial

_MARK = "preflight finding "
_WIDTH, _STATE, _NAME = 100, 12, 24


class State(StrEnum):
    """How a check ended. Only `FAILED` keeps the pipelines from running."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


_COLOURS = {State.PASSED: 32, State.WARNING: 33, State.FAILED: 31, State.SKIPPED: 2}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was seen, and the commands to type, one a line, if any."""

    state: State
    name: str
    text: str
    remedy: str = ""


passed = partial(Finding, State.PASSED)
warning = partial(Finding, State.WARNING)
"""The pipelines run, but not all of them, or not as they should."""
failed = partial(Finding, State.FAILED)
"""The pipelines cannot run."""
skipped = partial(Finding, State.SKIPPED)
"""Nothing is known."""


class CheckFailed(Exception):  # noqa: N818 (an outcome, not a fault of the program)
    """What a check from inside saw is not right."""

    state = State.FAILED


class CheckWarning(CheckFailed):
    """What a check from inside saw is not right, and most of the pipelines run without it."""

    state = State.WARNING


def try_and_print(checks: Iterable[tuple[str, Callable[[], str]]]) -> list[Finding]:
    """Make checks, which return what they saw or raise; prints lines that `from_log` reads."""
    findings = []
    for name, check in checks:
        try:
            state, text = State.PASSED, check()
        except CheckFailed as error:
            state, text = error.state, str(error)
        except Exception as error:  # whatever it is, it answers the question
            state, text = State.FAILED, f"{type(error).__name__}: {error}"
        findings.append(Finding(state, name, " ".join(text.split())[:600]))
        print(_MARK + json.dumps(asdict(findings[-1])), flush=True)
    return findings


def from_log(log: str) -> list[Finding]:
    """The findings among the lines of a step's log."""
    lines = [line.partition(_MARK)[2] for line in log.splitlines() if _MARK in line]
    return [Finding(**{**one, "state": State(one["state"])}) for one in map(json.loads, lines)]


def group_lines(title: str, findings: Iterable[Finding], colours: bool) -> str:
    """A group of findings for a terminal: a line each, folded where it is long, and its remedy.

    Commands, to be copied, are never folded; one that fixes several in a row stands below the last.
    """
    shown = list(findings)
    following = [*(finding.remedy for finding in shown[1:]), ""]
    lines = [title]
    for finding, after in zip(shown, following, strict=True):
        width = _WIDTH - _STATE - _NAME
        text = textwrap.wrap(finding.text, width, break_long_words=False, break_on_hyphens=False)
        state = f"  {finding.state.value}".ljust(_STATE)
        state = f"\033[{_COLOURS[finding.state]}m{state}\033[0m" if colours else state
        indent = "\n" + " " * (_STATE + _NAME)
        lines.append(f"{state}{finding.name.ljust(_NAME - 1)} {indent.join(text)}")
        if finding.remedy != after:
            lines += [f"      $ {command}" for command in finding.remedy.splitlines()]
    return "\n".join([*lines, ""])


def summary(findings: Iterable[Finding]) -> str:
    """One line with the counts, and what follows from them."""
    counts = Counter(finding.state for finding in findings)
    said = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    if counts[State.FAILED]:
        return f"{said}. Fix what FAILED, then check again."
    skips = "Nothing that was checked stands in the way."
    return f"{said}. {skips if counts[State.SKIPPED] else 'Ready.'}"
