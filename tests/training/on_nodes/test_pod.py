"""The command of a TrainJob's pods: what Kubernetes and who reads the log learn of its end."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from components.training.on_nodes.pod import exit_code
from components.training.on_nodes.train_job import train_job_spec, training_arguments

OPTIONS = {"epochs": 1000, "batch_size": 8, "evaluations_per_epoch": 12, "precision": "fp32"}


@pytest.mark.parametrize(
    ("of_child", "code"), [(2, 2), (1, 1), (143, 143), (-signal.SIGKILL, 137), (0, 1)]
)
def test_the_code_is_that_of_the_child(of_child, code):
    assert exit_code(of_child) == code


@contextmanager
def pods(arguments, nodes):
    """The processes of a TrainJob's pods, with the variables that Trainer gives them."""
    trainer = train_job_spec(arguments, nodes, 0)["trainer"]
    python, *command = trainer["command"]
    assert python == "python"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    try:
        for number in range(nodes):
            variables = {
                **{"PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"])},
                **{"PET_NODE_RANK": str(number), "OMP_NUM_THREADS": "1"},
                **{"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)},
            }
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command, *trainer["args"]],
                    env={**os.environ, **variables},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
            )
        yield processes
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.mark.slow
def test_a_mistake_of_the_users_is_reported_in_few_lines(tmp_path):
    missing = str(tmp_path / "missing.parquet")
    with pods(training_arguments(missing, "minilm", str(tmp_path / "m"), {}), 1) as (pod,):
        said, _ = pod.communicate(timeout=120)
        assert pod.returncode == 2
    # Of torchrun's own lines there are less than an error of ours tells.
    assert f"error: {missing} does not exist" in " ".join(said.splitlines()[-15:])
    assert "Traceback" not in said


@pytest.mark.slow
def test_when_one_pod_is_asked_to_end_all_do_and_leave_a_checkpoint(tmp_path, small_set, tiny_bert):
    """So none of them counts as a failure, whichever Kubernetes sees first."""
    arguments = training_arguments(
        *(str(small_set), str(tiny_bert), str(tmp_path / "model"), OPTIONS),
        checkpoints=str(tmp_path / "checkpoints"),
    )
    with pods(arguments, 2) as (first, second):
        for line in first.stdout:
            if " macro_f1=" in line:
                break
        second.send_signal(signal.SIGTERM)
        for pod in (first, second):
            said, _ = pod.communicate(timeout=60)
            assert pod.returncode == 143, said
            assert "Traceback" not in said
    assert (tmp_path / "checkpoints" / "checkpoint.safetensors").is_file()
