from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from components.deployment.canary_report import render_canary_report
from components.deployment.judging.canary_analysis import Verdict
from components.deployment.judging.shadow_comparison import ShadowComparison
from components.deployment.judging.shadow_watch import ShadowWatch, logging_payloads
from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.rollout_record import Decision, Rollout, Step
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_parquet
from components.shared.records.payloads import PAYLOAD_SCHEMA, day_folder

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def logged(folder, *rows):
    """A payload log of (seconds after noon, request, version, label)."""
    made = [
        {
            "time": NOON + timedelta(seconds=seconds),
            "request_id": request,
            "position": 0,
            "model_name": "m",
            "model_version": version,
            "text_sha256": request,
            "text": None,
            "label": label,
            **{"p_negative": 0.0, "p_neutral": 0.0, "p_positive": 1.0},
            "truncated": False,
        }
        for seconds, request, version, label in rows
    ]
    path = folder / day_folder(NOON.date()) / "1.parquet"
    path.parent.mkdir(parents=True)
    write_parquet(path, pa.Table.from_pylist(made, schema=PAYLOAD_SCHEMA))
    return str(folder)


def watched(uri, percent=0, seconds=10.0, later=60.0):
    """A watch after a step that ended at noon."""
    clock, slept = [NOON], []
    watch = ShadowWatch(uri, now=lambda: clock[0], sleep=slept.append)
    watch.after_step(Step(percent, seconds, Verdict.PROMOTE, "good", ()))
    clock[0] += timedelta(seconds=later)
    return watch, slept


def test_answers_given_while_it_was_a_shadow_are_compared(tmp_path):
    uri = logged(
        tmp_path,
        (-60.0, "before", "3", "positive"),
        (-5.0, "one", "3", "positive"),
        (-4.9, "one", "4", "negative"),
        (-3.0, "two", "3", "positive"),
        (-2.9, "two", "4", "positive"),
        (30.0, "after", "3", "positive"),
        (30.0, "other", "4", "positive"),
    )
    watch, slept = watched(uri)
    found = watch.found("3", "4")
    assert isinstance(found, ShadowComparison)
    assert tuple(found.agreed) == (1, 2)
    assert (found.only_stable, found.only_canary) == (0, 0)
    assert slept == []
    page = render_canary_report(Rollout(Decision.PROMOTE, "good", "m", "4", "3", "Standard"), found)
    assert "Of 2 reviews, 50.0 % got the same label" in page
    assert "That is too little to tell: fewer than 100 reviews were paired." in page


def test_it_waits_until_the_servers_have_written(tmp_path):
    watch, slept = watched(logged(tmp_path, (-1.0, "one", "3", "positive")), later=5.0)
    watch.found("3", "4")
    assert slept == [30.0]


def test_a_step_with_a_share_is_no_shadow(tmp_path):
    watch, slept = watched(str(tmp_path), percent=10, later=0.0)
    assert watch.found("3", "4") == ""
    assert slept == []
    assert "In the shadow" not in render_canary_report(
        Rollout(Decision.PROMOTE, "good", "m", "4", "3", "Standard"), ""
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: "", "no payload log of both versions was named"),
        (lambda folder: str(folder / "nowhere"), "not compared: there is no payload log at"),
        (
            lambda folder: logged(folder, (-1.0, "one", "4", "positive")),
            "0 of the stable version's alone and 1 of the canary's alone",
        ),
    ],
    ids=["not named", "not there", "nothing paired"],
)
def test_what_cannot_be_compared_is_said(tmp_path, make, words):
    watch, _ = watched(make(tmp_path))
    found = watch.found("3", "4")
    assert isinstance(found, str)
    assert words in found
    page = render_canary_report(Rollout(Decision.PROMOTE, "good", "m", "4", "3", "Standard"), found)
    assert words in page.replace("&#39;", "'")


def test_the_servers_are_told_where_to_log():
    assert logging_payloads(ServiceSettings(), "s3://b/log").server_arguments == (
        "--payload-log=s3://b/log",
    )
    own = ServiceSettings(server_arguments=("--engine=torch", "--payload-log", "/mine"))
    assert logging_payloads(own, "s3://b/log") == own
    with pytest.raises(UserError, match="holds a password"):
        logging_payloads(ServiceSettings(), "s3://me:secret@b/log")
