"""A real kill of the command line, and what the next start makes of it."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from components.training.loop.run import TERMINATED


def command(training_set: Path, base_model: Path, output: Path, checkpoints: Path) -> list[str]:
    options = {
        **{"learning-rate": 0.01, "epochs": 4, "min-steps": 0, "batch-size": 8, "seed": 3},
        **{"precision": "fp32", "checkpoint-minutes": 0},
    }
    return [
        *(sys.executable, "-m", "components.training", "--training-set", str(training_set)),
        *("--base-model", str(base_model), "--output", str(output)),
        *("--checkpoints", str(checkpoints)),
        *(f"--{name}={value}" for name, value in options.items()),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, TERMINATED)]
)
def test_a_run_that_a_signal_ends_goes_on_and_ends_the_same(
    sent, code, small_set, tiny_bert, tmp_path
):
    whole = command(small_set, tiny_bert, tmp_path / "whole", tmp_path / "whole-checkpoints")
    subprocess.run(whole, check=True, capture_output=True, timeout=300)

    again = command(small_set, tiny_bert, tmp_path / "killed", tmp_path / "checkpoints")
    with subprocess.Popen(
        again, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as first:
        for line in first.stdout:
            if "train_loss=" in line:  # the last line of an evaluation
                first.send_signal(sent)
                break
    assert first.returncode == code
    assert not (tmp_path / "killed").exists()
    second = subprocess.run(again, check=True, capture_output=True, text=True, timeout=300)
    assert "going on from step" in second.stderr
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    found = load_file(tmp_path / "killed" / "model.safetensors")
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoints",
        "killed",
        "whole",
        "whole-checkpoints",
    ]
