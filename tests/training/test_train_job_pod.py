"""The command of a TrainJob's pods: what Kubernetes and who reads the log learn of its end."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from components.training.train_job import train_job_spec, training_arguments
from components.training.train_job_pod import exit_code

OPTIONS = {"epochs": 1000, "batch_size": 8, "evaluations_per_epoch": 12, "precision": "fp32"}


@pytest.mark.parametrize(
    ("of_child", "code"), [(2, 2), (1, 1), (143, 143), (-signal.SIGKILL, 137), (0, 1)]
)
def test_the_code_is_that_of_the_child(of_child, code):
    assert exit_code(of_child) == code


def started(arguments):
    """A pod's process, with the variables that Trainer gives it."""
    spec = train_job_spec(arguments, 1, 0)
    python, *command = spec["trainer"]["command"]
    assert python == "python"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        **{"PET_NNODES": "1", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": "0"},
        **{"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
    }
    return subprocess.Popen(
        [sys.executable, *command, *spec["trainer"]["args"]],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_mistake_of_the_users_is_told_in_few_lines(tmp_path):
    missing = str(tmp_path / "missing.parquet")
    with started(training_arguments(missing, "minilm", str(tmp_path / "m"), {})) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    # Of torchrun's own lines there are less than an error of ours tells.
    assert f"error: {missing} does not exist" in " ".join(said.splitlines()[-15:])
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_pod_that_is_asked_to_end_leaves_a_checkpoint_and_says_so(tmp_path, small_set, tiny_bert):
    arguments = training_arguments(
        str(small_set),
        str(tiny_bert),
        str(tmp_path / "model"),
        OPTIONS,
        checkpoints=str(tmp_path / "checkpoints"),
    )
    with started(arguments) as process:
        try:
            for line in process.stdout:
                if line.startswith("macro_f1="):
                    break
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 143, said
    assert (tmp_path / "checkpoints" / "checkpoint.safetensors").is_file()
    assert "Traceback" not in said
