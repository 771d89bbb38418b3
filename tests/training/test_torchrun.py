import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from components.training.fine_tune import fine_tune
from components.training.options import TrainingOptions
from tests.stand_ins.training_nodes import started

pytestmark = pytest.mark.slow

OPTIONS = {
    **{"learning_rate": 0.002, "head_learning_rate": 0.002, "epochs": 2, "min_steps": 0},
    # 96 rows: the last batch of an epoch has one, of which only the first rank gets any.
    **{"batch_size": 5, "evaluations_per_epoch": 20, "early_stopping_patience": 0, "seed": 3},
    **{"precision": "fp32", "checkpoint_minutes": 0, "freeze_embeddings": False},
}
STEPS = 40
# Between one process and several: sums of fp32 in another order, carried on by 40 steps of AdamW.
LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 1e-5


def torchrun(*commands, ranks):
    launch = ["torch.distributed.run", "-m", "components.training"]
    return started(*([*launch, *command] for command in commands), ranks=ranks)


@pytest.fixture(scope="module")
def command(small_set, tiny_bert):
    def made(folder: Path, **changes) -> list[str]:
        return [
            *("--training-set", str(small_set), "--base-model", str(tiny_bert)),
            *("--output", str(folder / "model"), "--checkpoints", str(folder / "checkpoints")),
            *(f"--{name.replace('_', '-')}={v}" for name, v in {**OPTIONS, **changes}.items()),
        ]

    return made


@pytest.fixture(scope="module")
def one(small_set, tiny_bert, tmp_path_factory):
    """Model folder that one process trains."""
    folder = tmp_path_factory.mktemp("one") / "model"
    fine_tune(small_set, str(tiny_bert), TrainingOptions.from_dict(OPTIONS), folder)
    return folder


@pytest.fixture(scope="module")
def two(command, tmp_path_factory):
    """Folder in which two processes of one node trained, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    with torchrun(command(folder), ranks=2) as (node,):
        code, out, err = node.ended()
    assert code == 0, err
    return folder, out


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def largest_difference(first: Path, second: Path) -> float:
    one, other = weights(first), weights(second)
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_two_ranks_end_with_the_curves_and_weights_of_one(one, two, tiny_bert):
    folder, _ = two
    facts = [json.loads((f / "training.json").read_text()) for f in (one, folder / "model")]
    assert len(facts[0]["history"]) == STEPS
    for expected, found in zip(facts[0]["history"], facts[1]["history"], strict=True):
        assert found["step"] == expected["step"]
        for loss in ("train_loss", "validation_loss"):
            assert found[loss] == pytest.approx(expected[loss], rel=LOSS_TOLERANCE)
    assert largest_difference(one, folder / "model") < WEIGHT_TOLERANCE
    assert largest_difference(one, tiny_bert) > 100 * WEIGHT_TOLERANCE  # it did train


def test_the_first_rank_alone_writes_and_reports_and_a_second_start_is_short(two, command):
    folder, out = two
    folders = sorted(path.name for path in folder.rglob("*") if path.is_dir())
    assert folders == ["checkpoints", "model"]
    before = weights(folder / "model")
    lines = out.splitlines()
    assert sum("macro_f1=" in line for line in lines) == STEPS + 1
    assert sum("train_loss=" in line for line in lines) == STEPS
    with torchrun(command(folder), ranks=2) as (node,):
        code, _, err = node.ended()
    assert code == 0
    assert f"going on from step {STEPS} of {STEPS}" in err
    after = weights(folder / "model")
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_lone_process_that_is_killed_goes_on_and_ends_the_same(command, one, tmp_path):
    again = ["components.training", *command(tmp_path)]
    with started(again, ranks=1) as (node,):
        node.after_evaluations(7)
        node.kill_all()
        assert node.ended()[0] == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    with started(again, ranks=1) as (node,):
        code, _, err = node.ended()
    assert (code, err.count("going on from step")) == (0, 1), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "model"]
    assert largest_difference(one, tmp_path / "model") == 0


def test_a_job_killed_rank_by_rank_and_whole_goes_on_and_ends_the_same(command, two, tmp_path):
    moments = random.Random(7)
    again = command(tmp_path)
    with torchrun(again, ranks=2) as (node,):
        node.after_evaluations(moments.randint(1, 15))
        os.kill(node.workers()[1], signal.SIGKILL)
        assert node.ended()[0] != 0
    with torchrun(again, ranks=2) as (node,):
        node.after_evaluations(moments.randint(1, 15))
        node.kill_all()
        _, _, err = node.ended()
        assert "going on from step" in err
    assert not (tmp_path / "model").exists()
    with torchrun(again, ranks=2) as (node,):
        code, _, err = node.ended()
    assert code == 0, err
    assert err.count("going on from step") == 1
    folder, _ = two
    assert largest_difference(folder / "model", tmp_path / "model") == 0


def test_when_a_pod_is_asked_to_end_all_do_with_one_code_and_one_process_can_go_on(
    command, one, small_set, tiny_bert, tmp_path
):
    pod = ["components.training.on_nodes.pod", *command(tmp_path, checkpoint_minutes=60)]
    with started(pod, pod, ranks=1) as (first, second):
        first.after_evaluations(5)
        second.process.send_signal(signal.SIGTERM)
        for node in (second, first):
            code, out, err = node.ended()
            # So none of them counts as a failure, whichever Kubernetes sees first.
            assert code == 143, err
            assert "Traceback" not in out + err
    assert "asked to end after step" in err
    resumed = fine_tune(
        *(small_set, str(tiny_bert), TrainingOptions.from_dict(OPTIONS)),
        *(tmp_path / "model", tmp_path / "checkpoints"),
    )
    assert 5 <= resumed.resumed_at < STEPS
    assert largest_difference(one, tmp_path / "model") < WEIGHT_TOLERANCE


def test_nodes_started_differently_are_reported_in_words(command, small_set, tmp_path):
    fewer = pq.read_table(small_set).slice(1)
    pq.write_table(fewer, tmp_path / "fewer.parquet")
    different = command(tmp_path / "other", seed=4, checkpoint_minutes=7)
    different[1] = str(tmp_path / "fewer.parquet")
    with torchrun(command(tmp_path), different, ranks=1) as nodes:
        for node in nodes:
            code, _, err = node.ended()
            assert code != 0
            assert "error: rank 1 was started with another seed, training_set than rank 0" in err
            assert "components/training/" not in err  # no stack trace
    assert not (tmp_path / "model").exists()


def test_training_needs_no_package_of_pipelines_features_or_clusters(command, tmp_path):
    absent = ("kfp", "feast", "kserve", "mlflow", "kubernetes", "sklearn")
    arguments = ["train", *command(tmp_path, epochs=1, batch_size=32)]
    code = f"""
import sys, runpy
sys.modules.update(dict.fromkeys({absent}))
sys.argv = {arguments}
runpy.run_module("components.training", run_name="__main__")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "model").is_dir()
