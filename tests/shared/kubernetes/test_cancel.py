"""A step's process under a real SIGTERM, as Argo sends it when a run is terminated."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.shared.kubernetes.conftest import train_job
from tests.stand_ins.api_server import kubeconfig

STEP = """
import json, sys
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import run_to_end
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Resource

client, namespace = connect(kubeconfig=sys.argv[1])
jobs = Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")
run_to_end(
    Objects(client, namespace, jobs, pods="app={name}"),
    json.loads(sys.argv[2]),
    lambda found: None,
    deadline_seconds=600,
)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_step_deletes_its_object_and_ends_in_time(jobs, tmp_path, number):
    jobs.api.hold_seconds = 30.0
    command = [sys.executable, "-c", STEP, kubeconfig(tmp_path, jobs.api.url)]
    step = subprocess.Popen([*command, json.dumps(train_job())], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while not jobs.api.count("WATCH") and time.monotonic() < until:
            with jobs.kept.changed:
                jobs.kept.changed.wait(0.1)
        assert list(jobs.kept.found) == ["job"]
        cancelled = time.monotonic()
        step.send_signal(number)
        with jobs.kept.changed:
            jobs.kept.changed.wait_for(lambda: not jobs.kept.found, timeout=10)
        # The container is killed about a second after its launcher.
        assert time.monotonic() - cancelled < 1
        step.communicate(timeout=10)
    finally:
        step.kill()
    assert step.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT)
    assert jobs.kept.deletions == [("job", "Foreground")]
