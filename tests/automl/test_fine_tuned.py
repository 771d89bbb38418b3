"""The fine-tuned encoder: how much of it fits, and the training room's command behind it."""

import math
import sys
import time

import pytest

from components.automl.candidates import all_candidates, fine_tuned
from components.automl.task import read_task
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.records.model_folder import TRANSFORMER, check_model_folder, kind_of
from tests.evaluation.conftest import review_rows, write_run


@pytest.fixture
def small(tiny_bert, tmp_path):
    training_set, prepared = write_run(tmp_path, review_rows(400), tiny_bert)
    return read_task(prepared, training_set, str(tiny_bert), {"max_tokens": 32, "model_name": "m"})


@pytest.fixture
def commands(monkeypatch):
    """What would be run, and the facts that go along."""
    run = []

    def noted(command):
        facts = read_json(command[command.index("--facts-file") + 1])
        run.append(dict(zip(command[3::2], command[4::2], strict=True)) | {"facts": facts})

    monkeypatch.setattr(fine_tuned, "_run", noted)
    return run


def test_as_many_epochs_as_fit_and_no_longer_than_the_time_left(
    small, commands, monkeypatch, tmp_path
):
    monkeypatch.setattr(fine_tuned, "_seconds_of_step", lambda *what: 0.5)
    of_epoch = 30 + 300 * 0.5  # so few rows get 300 steps, whatever the epochs
    assert fine_tuned.estimate(small) == of_epoch
    fine_tuned.fit(small, {"epochs": 3}, 7, time.time() + 1000, tmp_path / "model")
    fine_tuned.fit(small, {"epochs": 3}, 7, math.inf, tmp_path / "model")
    first, free = commands
    assert (first["--epochs"], first["--seed"]) == ("3", "7")
    assert 900 < float(first["--max-seconds"]) <= 970
    assert "--max-seconds" not in free
    assert first["facts"] == {"max_tokens": 32, "model_name": "m"}
    small.kept["steps"] = 1000
    fine_tuned.fit(small, {"epochs": 3}, 7, time.time() + 1100, tmp_path / "model")
    assert commands[-1]["--epochs"] == "2"


def test_a_killed_search_goes_on_from_its_checkpoint(small, commands, monkeypatch, tmp_path):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path))
    for _ in range(2):
        fine_tuned.fit(small, {"epochs": 1}, 7, math.inf, tmp_path / "model")
    fine_tuned.fit(small, {"epochs": 1}, 8, math.inf, tmp_path / "model")
    one, same, other = (command["--checkpoints"] for command in commands)
    assert one == same != other


def test_what_the_command_says_last_is_the_reason(capfd):
    code = "import sys; print('step 1', file=sys.stderr); sys.exit('error: the loss is nan')"
    with pytest.raises(UserError, match=r"^the loss is nan$"):
        fine_tuned._run([sys.executable, "-c", code])
    assert "step 1" in capfd.readouterr().err
    with pytest.raises(UserError, match="it ended with 3"):
        fine_tuned._run([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_base_model_that_cannot_be_read_is_named(small, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="base model"):
        fine_tuned._seconds_of_step(str(tmp_path / "empty"), 8)


@pytest.mark.slow
def test_it_is_trained_by_the_command_within_its_time(small, tmp_path):
    candidate = all_candidates()["fine_tuned"]
    assert 30 < candidate.estimate(small) < 600
    candidate.fit(small, candidate.first, 1, time.time() + 32, tmp_path / "model")
    folder = check_model_folder(tmp_path / "model")
    assert kind_of(folder) == TRANSFORMER
    training = read_json(folder / "training.json")
    assert training["options"]["max_seconds"] <= 2
    assert training["best"]["step"] < 300
    assert training["facts"]["model_name"] == "m"
