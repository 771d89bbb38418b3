from functools import partial

import pytest

from components.shared.kubernetes.objects import WINDOW_SECONDS
from components.shared.kubernetes.refusals import Gone
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import conditions, train_job
from tests.stand_ins.api_server import Refused


def ready(found):
    return found.get("status") == conditions(Complete=True)


@pytest.fixture
def job(jobs):
    jobs.objects.create(train_job())
    return jobs


def finish(job, at_watch=1):
    job.at_watch(at_watch, partial(job.kept.set_status, "job", **conditions(Complete=True)))


def wait(job, seconds=60):
    assert ready(job.objects.wait("job", ready, seconds))


def test_a_change_is_reported_by_the_watch_without_another_look(job):
    finish(job)
    wait(job)
    assert [method for method, _ in job.api.asked] == ["POST", "GET", "WATCH"]
    assert job.time.slept == []


def test_every_change_is_reported_once_and_in_order(job):
    def change():
        for image in ("a", "b"):
            job.kept.patch("job", {"spec": {"trainer": {"image": image}}})

    job.at_watch(1, change)
    seen = [found["spec"]["trainer"]["image"] for found in job.objects.watch("job", 1)]
    assert seen == ["training:1", "a", "b", "b", "b"]


@pytest.mark.parametrize(
    "fault", ["drop", "lost", "cut", 410, 429, 500, 503, ("ERROR", 410), ("ERROR", 500)]
)
def test_a_watch_that_ends_badly_is_begun_anew(job, fault):
    finish(job, at_watch=4)
    job.api.plant("WATCH", fault, 1, 2, 3)
    wait(job)
    assert job.time.slept == [0.5, 1, 2]
    assert job.api.count("GET") == 4


def test_pauses_are_short_again_after_a_change_and_as_long_as_the_api_asks(job):
    job.at_watch(3, partial(job.kept.set_status, "job", **conditions(Suspended=True)))
    job.api.plant("WATCH", "drop", 1, 2, 4)
    with pytest.raises(UserError, match="did not get there within 3 s"):
        wait(job, 3)
    assert job.time.slept == [0.5, 1, 0.5, 1]
    for seconds, pause in ((60, 7), (20, 20)):
        # No pause outlasts the deadline.
        job.api.retry_after, job.time.slept = {7: 7, 20: 1000}[pause], []
        job.api.plant("WATCH", 429)
        with pytest.raises(UserError, match=f"did not get there within {seconds} s"):
            wait(job, seconds)
        assert job.time.slept[0] == pause
        assert sum(job.time.slept) <= seconds


def test_a_forgotten_version_is_read_anew(job):
    job.kept.forgotten = job.kept.version
    looks = []

    def reached(found):
        looks.append(found)
        if len(looks) == 2:
            job.kept.set_status("job", **conditions(Complete=True))
        return ready(found)

    assert ready(job.objects.wait("job", reached, 60))
    assert len(looks) == 3


def test_an_outage_of_minutes_is_borne_and_a_longer_one_reported(job):
    job.api.plant("GET", "drop", *range(1, 30))
    finish(job, at_watch=2)
    job.api.plant("WATCH", "drop")
    wait(job, 3600)
    assert 200 < sum(job.time.slept) < 600
    job.api.plant("GET", 503, *range(1, 90))
    with pytest.raises(UserError, match="answered 503"):
        wait(job, 3600)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Refused(401, "Unauthorized", "Unauthorized"), "does not accept the credentials"),
        (("ERROR", 401), "does not accept the credentials"),
        (
            Refused(403, "Forbidden", 'User "bot" cannot watch resource'),
            r"bot may not watch trainjobs.trainer.kubeflow.org in namespace reviews.*Role that "
            "grants the verb watch",
        ),
    ],
)
def test_a_watch_that_is_not_allowed_is_reported_at_once(job, fault, words):
    job.api.plant("WATCH", fault)
    with pytest.raises(UserError, match=words):
        wait(job)
    assert job.time.slept == []


@pytest.mark.parametrize("while_watched", [True, False])
def test_an_object_that_is_deleted_ends_the_wait(job, while_watched):
    def before(method, path):
        if method == "WATCH" or not while_watched:
            job.api.before = None
            job.kept.delete("job")

    job.api.before = before
    with pytest.raises(Gone, match="TrainJob job is gone from namespace reviews"):
        wait(job)
    assert job.time.slept == []


def test_a_deadline_ends_it_even_under_a_stream_of_changes(job):
    job.api.hold_seconds = 5.0
    numbers = iter(range(1000))

    def reached(found):
        job.time.now += 10
        job.kept.set_status("job", **conditions(Complete=False), jobsStatus=[next(numbers)])
        return False

    with pytest.raises(UserError, match="did not get there within 45 s: Complete is False"):
        job.objects.wait("job", reached, 45)
    assert job.time.now < 70


def test_a_silent_watch_is_left_by_the_client_in_the_end(job, monkeypatch):
    """The read timeout is what notices a connection that died without a word."""
    given, inner = [], job.objects.client.call_api

    def call_api(*args, **kwargs):
        query = dict(args[3] or [])
        if "watch" in query:
            given.append((query["timeoutSeconds"], kwargs["_request_timeout"]))
        return inner(*args, **kwargs)

    monkeypatch.setattr(job.objects.client, "call_api", call_api)
    finish(job)
    wait(job, 3600)
    ((seconds, (_, read)),) = given
    assert seconds == WINDOW_SECONDS
    assert seconds < read <= seconds + 30
