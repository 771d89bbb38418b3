import logging
import os
import signal
import time
from functools import partial

import pytest

from components.shared.kubernetes.launch import permissions, run_to_end
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import TRAIN_JOBS, conditions, container, outcome, train_job
from tests.stand_ins.api_server import Refused

LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture
def run(jobs):
    """Runs a job whose status, at each watch, is the next one of `course`."""

    def run(*course, **options):
        left = list(course)

        def before(method, path):
            if method == "WATCH" and left and (step := left.pop(0)):
                step() if callable(step) else jobs.kept.set_status("job", **step)

        jobs.api.before = before
        options = {"deadline_seconds": 600, **options}
        return run_to_end(jobs.objects, train_job(), outcome, **options)

    return run


@pytest.mark.parametrize("keep", [False, True])
def test_an_object_is_made_followed_and_removed(jobs, run, keep):
    seen = []
    done = run(
        conditions(Suspended=False),
        None,
        conditions(Complete=True),
        keep=keep,
        on_change=lambda found: seen.append(found.get("status")),
    )
    assert done["status"] == conditions(Complete=True)
    assert seen == [None, conditions(Suspended=False), conditions(Complete=True)]
    assert list(jobs.kept.found) == (["job"] if keep else [])
    assert jobs.kept.deletions == ([] if keep else [("job", "Foreground")])


def test_a_retried_step_goes_on_with_its_object(jobs, run):
    jobs.kept.create(train_job())
    assert run(conditions(Complete=True))
    assert jobs.kept.uids == 1
    # Also with one that ended meanwhile.
    jobs.kept.create(train_job())
    jobs.kept.set_status("job", **conditions(Complete=True))
    assert run()
    assert jobs.kept.found == {}


def test_another_object_of_the_name_is_reported_and_not_touched(jobs, run):
    jobs.kept.create(train_job(image="training:0"))
    with pytest.raises(UserError, match=r"another TrainJob job in namespace reviews.*kubectl del"):
        run()
    jobs.api.plant("POST", Refused(403, "Forbidden", 'User "bot" cannot create'))
    with pytest.raises(UserError, match="bot may not create"):
        run()
    assert jobs.kept.found["job"]["spec"]["trainer"]["image"] == "training:0"
    assert (jobs.kept.deletions, jobs.time.slept) == ([], [])


def test_the_end_of_one_that_is_being_deleted_is_waited_for(jobs, run):
    job = train_job()
    job["metadata"]["deletionTimestamp"] = LONG_AGO
    jobs.kept.create(job)
    done = run(None, lambda: jobs.kept.delete("job"), conditions(Complete=True))
    assert done["metadata"]["uid"] == "uid-2"
    jobs.kept.create(job)
    with pytest.raises(UserError, match="is being deleted and did not go within 300 s"):
        run()


def test_a_failure_is_reported_with_its_reasons_and_leaves_nothing(jobs, run):
    failed = container(terminated={"exitCode": 1})
    status = {"phase": "Failed", "containerStatuses": [failed]}
    for name, app in (("job-node-0-x", "job"), ("other", "other")):
        metadata = {"name": name, "namespace": "reviews", "labels": {"app": app}}
        jobs.api.pods.append({"metadata": metadata, "status": status})
    jobs.api.logs["job-node-0-x"] = "epoch 1\nCUDA out of memory\n"
    said = conditions(Failed=True)
    said["conditions"][0] |= {"reason": "JobsFailed", "message": "job job-node-0 failed"}
    with pytest.raises(UserError) as raised:
        run(said)
    assert str(raised.value) == (
        "TrainJob job failed: Failed is True (JobsFailed: job job-node-0 failed); "
        "container node of pod job-node-0-x failed, its last lines: epoch 1 | CUDA out of memory"
    )
    assert jobs.kept.found == {}
    assert jobs.api.permissions() == permissions(TRAIN_JOBS)


@pytest.mark.parametrize("fault", [429, 500, 503, "drop", "lost"])
@pytest.mark.parametrize("method", ["GET", "POST", "WATCH", "DELETE"])
def test_every_other_request_fails_and_all_is_done_once(jobs, run, method, fault):
    jobs.api.plant(method, fault, *range(1, 40, 2))
    assert run(None, None, None, conditions(Complete=True))
    assert jobs.kept.found == {}
    assert jobs.kept.uids == len(jobs.kept.deletions) == 1


def test_what_got_no_answer_or_no_end_in_time_is_removed(jobs, run):
    with pytest.raises(UserError, match="TrainJob job did not end within 600 s: it has no pods"):
        run()
    assert jobs.kept.found == {}
    assert jobs.time.now >= 600
    # The POST is done, its answer lost, and the API then away for longer than the retries.
    jobs.api.plant("POST", "lost")
    jobs.api.plant("GET", 503, *range(2, 9))
    with pytest.raises(UserError, match="503"):
        run()
    assert jobs.kept.uids == 2
    assert jobs.kept.found == {}


@pytest.mark.parametrize("marked", [True, False])
def test_one_that_someone_deletes_ends_it(jobs, run, marked):
    mark = partial(jobs.kept.patch, "job", {"metadata": {"deletionTimestamp": LONG_AGO}})
    with pytest.raises(UserError, match=r"TrainJob job .*someone"):
        run(mark if marked else partial(jobs.kept.delete, "job"))


def test_on_cancel_what_was_adopted_is_removed_and_a_namesake_is_not(jobs, run):
    jobs.kept.create(train_job())
    cancel = partial(os.kill, os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit):
        run(cancel)
    assert jobs.kept.deletions == [("job", "Foreground")]

    def someone():
        jobs.kept.delete("job")
        jobs.kept.create(train_job(image="training:2"))
        cancel()

    with pytest.raises(SystemExit):
        run(someone)
    assert jobs.kept.found["job"]["spec"]["trainer"]["image"] == "training:2"


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
@pytest.mark.parametrize("at", ["POST", "WATCH"])
def test_a_cancel_removes_what_runs(jobs, number, raised, at):
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def cancel(method, path):
        if method == at:
            os.kill(os.getpid(), number)

    jobs.api.before = cancel
    jobs.api.hold_seconds = 30.0
    began = time.monotonic()
    with pytest.raises(raised) as raised:
        run_to_end(jobs.objects, train_job(), outcome, deadline_seconds=600)
    # The container is killed about a second after its launcher.
    assert time.monotonic() - began < 5
    if number == signal.SIGTERM:
        assert raised.value.code == 143
    assert jobs.kept.deletions == [("job", "Foreground")]
    # Once it runs, one request is all there is time for; whether it does is looked up else.
    asked = ["GET", "POST", "GET"] + (["WATCH"] if at == "WATCH" else []) + ["DELETE"]
    assert [method for method, _ in jobs.api.asked] == asked
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


def test_a_second_signal_does_not_keep_it_from_removing(jobs, run):
    def again():
        jobs.api.plant("DELETE", 503)
        jobs.api.before = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        run(again)
    assert jobs.kept.found == {}


def test_what_cannot_be_removed_is_named_with_the_command(jobs, run, caplog):
    jobs.api.plant("DELETE", Refused(403, "Forbidden", 'User "bot" cannot delete resource'))
    with caplog.at_level(logging.ERROR), pytest.raises(UserError, match="did not end"):
        run(deadline_seconds=60)
    assert "bot may not delete trainjobs" in caplog.text
    assert "kubectl delete trainjobs.trainer.kubeflow.org job --namespace reviews" in caplog.text
