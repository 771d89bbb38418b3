from dataclasses import replace

import pytest

from components.preflight.finding import State, failed, group_lines, passed, summary


def test_a_remedy_that_several_need_is_shown_once():
    shown = [failed("a", "1", "$x"), failed("b", "2", "$x"), passed("c", "3")]
    words = [line.split()[0] for line in group_lines("T", shown, False).splitlines()]
    assert words == ["T", "FAILED", "FAILED", "$", "passed"]


def test_lines_fit_the_terminal_but_for_commands():
    text = group_lines("T", [failed("a name", "many words " * 30, "command " * 30)], False)
    assert all(len(line) <= 100 or line.startswith("      $ ") for line in text.splitlines())
    assert text.count("command") == 30
    assert text.count("words") == 30


def test_colours_are_only_where_they_are_asked_for():
    assert "\033[31m  FAILED" in group_lines("T", [failed("a", "b")], True)
    assert "\033" not in group_lines("T", [failed("a", "b")], False)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([State.PASSED, State.PASSED], "2 passed. Ready."),
        ([State.PASSED, State.SKIPPED], "1 passed, 1 skipped. Nothing that was checked stands in"),
        ([State.FAILED, State.PASSED, State.WARNING], "1 passed, 1 warning, 1 FAILED. Fix what"),
    ],
)
def test_the_summary(states, said):
    assert summary([replace(passed("a", "b"), state=one) for one in states]).startswith(said)
