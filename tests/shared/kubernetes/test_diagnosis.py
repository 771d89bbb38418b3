import logging
from datetime import UTC, datetime, timedelta

import pytest

from components.shared.kubernetes.launch import run_to_end
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import conditions, container, train_job
from tests.shared.kubernetes.test_objects import event as warning


def pod(phase="Pending", waiting=None, unschedulable="", name="job-node-0-x"):
    status = {"phase": phase}
    if waiting:
        why = {"reason": waiting, "message": f"said {waiting}"}
        status["containerStatuses"] = [container(waiting=why)]
    if unschedulable:
        no = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        status["conditions"] = [{**no, "message": unschedulable}]
    return {"metadata": {"name": name, "namespace": "reviews"}, "status": status}


def event(reason, message, name="job-node-0", ago=None):
    seen = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat() if ago is not None else None
    return warning(name, reason, message, lastTimestamp=seen)


def plant(jobs, found):
    jobs.api.pods = [one for one in found if "status" in one]
    jobs.api.events = [one for one in found if "reason" in one]


@pytest.fixture
def run(jobs):
    def run(seconds=3600.0, outcome=lambda found: None, **options):
        return run_to_end(jobs.objects, train_job(), outcome, deadline_seconds=seconds, **options)

    return run


STARTING = [pod(waiting="ContainerCreating")]


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("ImagePullBackOff", "check its name and tag, and the registry's credentials"),
        ("ErrImagePull", "check its name and tag"),
        ("InvalidImageName", "correct its name"),
        ("CreateContainerConfigError", "create the Secret or ConfigMap that it names"),
        ("FailedCreate", 'cannot make its pods (serviceaccount "runner" not found'),
    ],
)
def test_what_is_permanent_ends_the_wait_in_minutes(jobs, run, reason, remedy):
    words = ["job has not started for", remedy]
    if reason == "FailedCreate":
        jobs.api.events = [event(reason, 'serviceaccount "runner" not found')]
    else:
        jobs.api.pods = [pod(waiting=reason), pod("Running", name="other")]
        words += ["image training:1", f"{reason}: said {reason}"]
    with pytest.raises(UserError) as raised:
        run()
    assert all(said in str(raised.value) for said in words), raised.value
    assert 180 <= jobs.time.now < 300
    assert jobs.kept.found == {}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            [pod(unschedulable="0/4 nodes: Insufficient nvidia.com/gpu.")],
            r"job-node-0-x finds no node \(0/4 .* nvidia.com/gpu.\); add or free some",
        ),
        (
            [event("FailedCreate", "forbidden: exceeded quota: gpus", ago=60)],
            r"no quota left \(.*exceeded quota: gpus\); free some or ask for more",
        ),
        (
            [*STARTING, event("FailedMount", 'secret "s" not found', name="job-node-0-x")],
            r'cannot mount a volume \(secret "s" not found\)',
        ),
        # Pods that the selector leaves out, as that of Katib's search algorithm.
        (
            [event("FailedScheduling", "0/4 nodes are available", name="job-random-x", ago=60)],
            r"job-random-x finds no node \(0/4 nodes are available\)",
        ),
        (
            [event("Failed", 'Failed to pull image "x:1": denied', name="job-random-x")],
            r"job-random-x cannot get an image \(.* denied\)",
        ),
    ],
)
def test_what_may_become_free_is_reported_once_and_waited_for(jobs, run, caplog, found, words):
    plant(jobs, found)
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match=words):
        run(stuck_seconds=900)
    assert 900 <= jobs.time.now < 1000
    (record,) = caplog.records
    assert record.getMessage().startswith("job waits: ")
    # A deadline that comes first explains it as well.
    jobs.time.now = 0.0
    with pytest.raises(UserError, match="did not end within 60 s"):
        run(seconds=60)


@pytest.mark.parametrize(
    "found",
    [
        # A trial that waits for the place of another one.
        [pod("Running"), pod(unschedulable="no GPU", name="job-2")],
        [event("FailedCreate", "exceeded quota: gpus", ago=3600)],
        [event("FailedCreate", "exceeded quota: gpus", name="jobs-of-others")],
        [event("BackoffLimitExceeded", "no")],
        # Of before the pod found its node.
        [*STARTING, event("FailedScheduling", "no GPU", name="job-node-0-x")],
        [event("FailedCreate", "failed calling webhook", ago=160)],
        [pod("Running"), event("FailedScheduling", "no GPU", name="job-random-x")],
        [*STARTING, pod(waiting="CrashLoopBackOff")],
    ],
)
def test_a_wait_with_a_prospect_goes_on(jobs, run, found):
    plant(jobs, found)
    with pytest.raises(UserError, match="did not end within 3600 s"):
        run()


def test_a_trouble_that_passes_is_forgotten(jobs, run):
    jobs.api.pods = [pod(waiting="ImagePullBackOff")]

    def before(method, path):
        if method == "WATCH":
            # The registry is away for two minutes of every four.
            away = jobs.time.now % 240 < 120
            jobs.api.pods = [pod(waiting="ImagePullBackOff" if away else "ContainerCreating")]
            if jobs.time.now > 1200:
                jobs.kept.set_status("job", **conditions(Complete=True))

    jobs.api.before = before
    done = run(outcome=lambda found: "status" in found or None)
    assert done["status"] == conditions(Complete=True)


def test_pods_that_may_not_be_read_do_not_end_the_wait(jobs, run):
    jobs.api.refused["GET .*/pods"] = (403, "no")
    with pytest.raises(UserError, match=r"did not end within 600 s: its pods cannot be read"):
        run(600)
