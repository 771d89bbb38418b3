"""Findings as lines for a terminal of 100 columns."""

import textwrap
from collections import Counter
from collections.abc import Iterable

from components.preflight.finding import Finding, State

_WIDTH, _STATE, _NAME = 100, 14, 24
_COLOURS = {State.OK: 32, State.WARNING: 33, State.FAILED: 31, State.NOT_CHECKED: 2}


def group_lines(title: str, findings: Iterable[Finding], colours: bool) -> str:
    """A group of findings: a line each, folded where it is long, and below it the remedy.

    Commands are never folded, so that they can be copied.

    Args:
        title: Of the group.
        findings: In the order in which they are told.
        colours: Whether to colour the states.
    """
    told = list(findings)
    following = [*(finding.remedy for finding in told[1:]), ""]
    # What one command mends is listed first, and the command once.
    lines = [
        _lines(finding, "" if finding.remedy == after else finding.remedy, colours)
        for finding, after in zip(told, following, strict=True)
    ]
    return "\n".join([title, *lines, ""])


def _lines(finding: Finding, remedy: str, colours: bool) -> str:
    indent = " " * (_STATE + _NAME)
    told = textwrap.wrap(
        finding.told, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False
    )
    state = f"  {finding.state.value}".ljust(_STATE)
    if colours:
        state = f"\033[{_COLOURS[finding.state]}m{state}\033[0m"
    name = finding.name.ljust(_NAME - 1) + " "
    remedies = [f"      $ {command}" for command in remedy.splitlines()]
    return "\n".join([state + name + f"\n{indent}".join(told), *remedies])


def verdict(findings: Iterable[Finding]) -> str:
    """One line with the counts, and what follows from them."""
    counts = Counter(finding.state for finding in findings)
    told = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    if counts[State.FAILED]:
        return f"{told}. Mend what FAILED, then check again."
    if counts[State.NOT_CHECKED]:
        return f"{told}. Nothing that was checked stands in the way."
    return f"{told}. Ready."
