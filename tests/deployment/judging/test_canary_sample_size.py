import pytest

from components.deployment.judging import canary_sample_size
from components.deployment.judging.canary_analysis import Verdict
from components.deployment.judging.canary_sample_size import requests_needed


@pytest.mark.parametrize(
    ("canary", "verdict", "at_most"),
    [
        ("fails always", Verdict.ROLL_BACK, 5),
        ("200 ms slower", Verdict.ROLL_BACK, 45),
        ("says each class equally often", Verdict.ROLL_BACK, 60),
        ("as good as the stable", Verdict.PROMOTE, 700),
    ],
)
def test_how_many_requests_a_verdict_takes(canary, verdict, at_most):
    found, requests = requests_needed(canary)
    assert found is verdict
    assert requests <= at_most
    assert f"{canary:36}{verdict.replace('_', ' '):12}{requests:7,}" in canary_sample_size.__doc__
