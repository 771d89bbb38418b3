"""Waiting for an object through the real client, with all that can happen to a watch."""

import pytest

from components.shared.kubernetes.objects import WINDOW_SECONDS
from components.shared.kubernetes.refusals import Gone
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import conditions, train_job
from tests.stand_ins.api_server import Refused


def ready(found):
    return found.get("status") == conditions(Complete=True)


def finish(jobs, at_watch=1):
    """The job completes before the n-th watch is served."""

    def before(method, path):
        if method == "WATCH" and jobs.api.count("WATCH") == at_watch:
            jobs.kept.set_status("job", **conditions(Complete=True))

    jobs.api.before = before


def test_a_change_is_reported_by_the_watch_without_another_look(jobs):
    jobs.objects.create(train_job())
    finish(jobs)
    assert ready(jobs.objects.wait("job", ready, 60))
    assert [method for method, _ in jobs.api.asked] == ["POST", "GET", "WATCH"]
    assert jobs.time.slept == []


def test_every_change_is_reported_once_and_in_order(jobs):
    jobs.objects.create(train_job())

    def before(method, path):
        if method == "WATCH":
            for image in ("a", "b"):
                jobs.kept.patch("job", {"spec": {"trainer": {"image": image}}})
            jobs.api.before = None

    jobs.api.before = before
    seen = [found["spec"]["trainer"]["image"] for found in jobs.objects.watch("job", 1)]
    assert seen == ["training:1", "a", "b", "b", "b"]


@pytest.mark.parametrize(
    "fault", ["drop", "lost", "cut", 410, 429, 500, 503, ("ERROR", 410), ("ERROR", 500)]
)
def test_a_watch_that_ends_badly_is_begun_anew(jobs, fault):
    jobs.objects.create(train_job())
    finish(jobs, at_watch=4)
    for nth in (1, 2, 3):
        jobs.api.plant("WATCH", fault, nth)
    assert ready(jobs.objects.wait("job", ready, 60))
    assert jobs.time.slept == [0.5, 1, 2]
    assert jobs.api.count("GET") == 4


def test_the_pause_that_the_api_asks_for_is_kept(jobs):
    jobs.objects.create(train_job())
    finish(jobs, at_watch=2)
    jobs.api.retry_after = 7
    jobs.api.plant("WATCH", 429)
    assert ready(jobs.objects.wait("job", ready, 60))
    assert jobs.time.slept == [7]


def test_pauses_are_short_again_after_a_change(jobs):
    jobs.objects.create(train_job())

    def before(method, path):
        if method == "WATCH" and jobs.api.count("WATCH") == 3:
            jobs.kept.set_status("job", **conditions(Suspended=True))

    jobs.api.before = before
    for nth in (1, 2, 4):
        jobs.api.plant("WATCH", "drop", nth)
    with pytest.raises(UserError, match="did not get there within 3 s"):
        jobs.objects.wait("job", ready, 3)
    assert jobs.time.slept == [0.5, 1, 0.5, 1]


def test_no_pause_outlasts_the_deadline(jobs):
    jobs.objects.create(train_job())
    jobs.api.retry_after = 1000
    jobs.api.plant("WATCH", 429)
    with pytest.raises(UserError, match="did not get there within 20 s"):
        jobs.objects.wait("job", ready, 20)
    assert jobs.time.now == 20


def test_a_forgotten_version_is_read_anew(jobs):
    jobs.objects.create(train_job())
    jobs.kept.forgotten = jobs.kept.version
    looks = []

    def reached(found):
        looks.append(found)
        if len(looks) == 2:
            jobs.kept.set_status("job", **conditions(Complete=True))
        return ready(found)

    assert ready(jobs.objects.wait("job", reached, 60))
    assert len(looks) == 3


def test_an_outage_of_minutes_is_borne_and_a_longer_one_reported(jobs):
    jobs.objects.create(train_job())
    for nth in range(1, 30):
        jobs.api.plant("GET", "drop", nth)
    finish(jobs, at_watch=2)
    jobs.api.plant("WATCH", "drop")
    assert ready(jobs.objects.wait("job", ready, 3600))
    assert 200 < sum(jobs.time.slept) < 600
    for nth in range(1, 90):
        jobs.api.plant("GET", 503, nth)
    with pytest.raises(UserError, match="answered 503"):
        jobs.objects.wait("job", ready, 3600)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refused(401, "Unauthorized", "Unauthorized"), "does not accept the credentials"),
        (
            Refused(403, "Forbidden", 'User "bot" cannot watch resource'),
            r"bot may not watch trainjobs.trainer.kubeflow.org in namespace reviews.*Role that "
            "grants the verb watch",
        ),
    ],
)
def test_a_watch_that_is_not_allowed_is_reported_at_once(jobs, refusal, words):
    jobs.objects.create(train_job())
    jobs.api.plant("WATCH", refusal)
    with pytest.raises(UserError, match=words):
        jobs.objects.wait("job", ready, 60)
    jobs.api.plant("WATCH", ("ERROR", 401))
    with pytest.raises(UserError, match="does not accept the credentials"):
        jobs.objects.wait("job", ready, 60)
    assert jobs.time.slept == []


@pytest.mark.parametrize("while_watched", [True, False])
def test_an_object_that_is_deleted_ends_the_wait(jobs, while_watched):
    jobs.objects.create(train_job())

    def before(method, path):
        if method == "WATCH" or not while_watched:
            jobs.api.before = None
            jobs.kept.delete("job")

    jobs.api.before = before
    with pytest.raises(Gone, match="TrainJob job is gone from namespace reviews"):
        jobs.objects.wait("job", ready, 60)
    assert jobs.time.slept == []


def test_a_deadline_ends_it_even_under_a_stream_of_changes(jobs):
    jobs.objects.create(train_job())
    jobs.api.hold_seconds = 5.0
    numbers = iter(range(1000))

    def reached(found):
        jobs.time.now += 10
        jobs.kept.set_status("job", **conditions(Complete=False), jobsStatus=[next(numbers)])
        return False

    with pytest.raises(UserError, match="did not get there within 45 s: Complete is False"):
        jobs.objects.wait("job", reached, 45)
    assert jobs.time.now < 70


def test_a_silent_watch_is_left_by_the_client_in_the_end(jobs, monkeypatch):
    """The read timeout is what notices a connection that died without a word."""
    jobs.objects.create(train_job())
    given = []
    inner = jobs.objects.client.call_api

    def call_api(*args, **kwargs):
        query = dict(args[3] or [])
        if "watch" in query:
            given.append((query["timeoutSeconds"], kwargs["_request_timeout"]))
        return inner(*args, **kwargs)

    monkeypatch.setattr(jobs.objects.client, "call_api", call_api)
    finish(jobs)
    jobs.objects.wait("job", ready, 3600)
    ((seconds, (_, read)),) = given
    assert seconds == WINDOW_SECONDS
    assert seconds < read <= seconds + 30
