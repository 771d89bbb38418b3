import signal

import pytest

from components.training.on_nodes.pod import exit_code
from components.training.on_nodes.train_job import train_job_spec, training_arguments
from tests.stand_ins.training_nodes import started


@pytest.mark.parametrize(
    ("of_child", "code"), [(2, 2), (1, 1), (143, 143), (-signal.SIGKILL, 137), (0, 1)]
)
def test_the_code_is_that_of_the_child(of_child, code):
    assert exit_code(of_child) == code


@pytest.mark.slow
def test_a_mistake_of_the_users_is_reported_in_few_lines(tmp_path):
    missing = str(tmp_path / "missing.parquet")
    arguments = training_arguments(missing, "minilm", str(tmp_path / "m"), {})
    trainer = train_job_spec(arguments, 1, 0)["trainer"]
    python, option, *command = trainer["command"]
    assert (python, option) == ("python", "-m")
    with started([*command, *trainer["args"]], ranks=trainer["numProcPerNode"]) as (pod,):
        code, out, err = pod.ended()
    assert code == 2
    # torchrun's own lines are fewer than those of a log that an error of ours quotes.
    assert f"error: {missing} does not exist" in " ".join(err.splitlines()[-15:])
    assert "Traceback" not in out + err
