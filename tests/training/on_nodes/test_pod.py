"""The command of a TrainJob's pods: what Kubernetes and who reads the log learn of its end."""

import signal

import pytest

from components.training.on_nodes.pod import exit_code
from components.training.on_nodes.train_job import train_job_spec, training_arguments
from tests.stand_ins.training_nodes import started

OPTIONS = {"epochs": 1000, "batch_size": 8, "evaluations_per_epoch": 12, "precision": "fp32"}


@pytest.mark.parametrize(
    ("of_child", "code"), [(2, 2), (1, 1), (143, 143), (-signal.SIGKILL, 137), (0, 1)]
)
def test_the_code_is_that_of_the_child(of_child, code):
    assert exit_code(of_child) == code


def pods(arguments, nodes):
    """The processes of a TrainJob's pods."""
    trainer = train_job_spec(arguments, nodes, 0)["trainer"]
    python, option, *command = trainer["command"]
    assert (python, option) == ("python", "-m")
    return started(*[[*command, *trainer["args"]]] * nodes, ranks=trainer["numProcPerNode"])


@pytest.mark.slow
def test_a_mistake_of_the_users_is_reported_in_few_lines(tmp_path):
    missing = str(tmp_path / "missing.parquet")
    with pods(training_arguments(missing, "minilm", str(tmp_path / "m"), {}), 1) as (pod,):
        code, out, err = pod.ended()
    assert code == 2
    # torchrun's own lines are fewer than those of a log that an error of ours quotes.
    assert f"error: {missing} does not exist" in " ".join(err.splitlines()[-15:])
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_when_one_pod_is_asked_to_end_all_do_and_leave_a_checkpoint(tmp_path, small_set, tiny_bert):
    """So none of them counts as a failure, whichever Kubernetes sees first."""
    arguments = training_arguments(
        *(str(small_set), str(tiny_bert), str(tmp_path / "model"), OPTIONS),
        checkpoints=str(tmp_path / "checkpoints"),
    )
    with pods(arguments, 2) as (first, second):
        first.after_evaluations(1)
        second.process.send_signal(signal.SIGTERM)
        for pod in (first, second):
            code, out, err = pod.ended()
            assert code == 143, err
            assert "Traceback" not in out + err
    assert (tmp_path / "checkpoints" / "checkpoint.safetensors").is_file()
