"""The headline says what became of the model."""

import pytest

from components.report.training_verdict import headline_of
from tests.report.conftest import CHECK, EVALUATION, REGISTRATION

CLOSED = {
    **EVALUATION,
    "gate": {
        "passed": False,
        "reasons": ["Macro-F1 0.712 is below the threshold 0.800.", "Accuracy is fine."],
        "met": [False, True],
        "warnings": [],
    },
}
PENDING = {**REGISTRATION, "approval": "pending"}


@pytest.mark.parametrize(
    ("evaluation", "registration", "check", "state", "title", "words"),
    [
        (CLOSED, None, None, "stopped", "Not registered", "0.712 is below the threshold 0.800, so"),
        (EVALUATION, None, None, "good", "Passed the gate", "good enough"),
        (EVALUATION, PENDING, None, "waiting", "waits for approval", "make approve VERSION=7"),
        (EVALUATION, REGISTRATION, None, "waiting", "is registered", "check did not run"),
        (EVALUATION, REGISTRATION, CHECK, "good", "Version 7 is champion", "that evaluation gave"),
    ],
)
def test_each_ending(evaluation, registration, check, state, title, words):
    verdict = headline_of(evaluation, registration, check)
    assert verdict.state == state
    assert title in verdict.title
    assert words in verdict.sentence
    assert "0.871" in verdict.sentence
    assert "0.780" in verdict.sentence
