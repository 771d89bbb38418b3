import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deployment.judging.observations import NotObserved
from components.deployment.service import Interfered
from components.shared.kubernetes.refusals import Gone
from components.shared.machine.errors import NotApproved, UserError
from pipelines.running.step import MARK, Failure, failure_of, read_mark


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        *[(kind("do this"), "do this", 2) for kind in (UserError, Interfered, NotObserved, Gone)],
        (NotApproved("version 2 waits"), "version 2 waits", 5),
        (FileExistsError(17, "File exists", "runs"), "cannot use runs (File exists); a file", 2),
        (KeyError("sentiment"), "KeyError: 'sentiment'", 1),
        (RuntimeError("\n  out of memory\nby 3 GiB"), "RuntimeError: out of memory", 1),
        (MemoryError(), "MemoryError", 1),
    ],
)
def test_a_step_tells_its_runner_why_it_failed(error, words, code):
    failure = failure_of(error)
    assert failure.words.startswith(words)
    assert failure.exit_code == code


@given(st.text())
def test_a_mark_is_one_line_that_is_read_back_whatever_it_says(words):
    line = MARK + json.dumps(asdict(Failure(words, 2)))
    assert len(line.splitlines()) == 1
    assert read_mark(line) == Failure(words, 2)


@given(st.text())
def test_any_other_line_is_no_mark(text):
    assert read_mark(text) is None
    assert read_mark(MARK + text) is None
