import shlex
from itertools import count

import numpy as np
import pytest

from components.automl.__main__ import main
from components.automl.candidates import all_candidates
from components.automl.leaderboard import command_of, compare_candidates
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json

NOT_BEGUN = {"status": "not begun", "reason": "needs about 9 s, and 1 s was left", "trials": []}


@pytest.fixture
def board(task, prepared, tmp_path):
    """A leaderboard of candidates that decide rightly in so many rows, with their latency."""
    number = count()

    def made(*candidates):
        folders = []
        for name, right, latency in candidates:
            folder = tmp_path / f"{name}-{next(number)}"
            record = {"name": name, "about": name, "seed": 1, "trials": []}
            record |= {"base_model": "minilm", "max_tokens": 160, "seconds": 1.0}
            if right is None:
                record |= NOT_BEGUN
                folder.mkdir()
            else:
                linear = all_candidates()["linear"]
                linear.fit(task, linear.first, len(folders), np.inf, folder / "model")
                decided = (task.validation.classes + 1) % 3
                decided[:right] = task.validation.classes[:right]
                record |= {"status": "finished", "reason": "", "parameters": {"alpha": 0.1}}
                record |= {"decided": decided.tolist(), "latency_seconds": latency}
                record |= {"macro_f1": right / 60, "accuracy": right / 60, "bytes": 1}
                record |= {"reviews_per_second": 9.0, "training_seconds": 1.0}
            write_json(folder / "candidate.json", record)
            folders.append(folder)
        outputs = (tmp_path / "winner", tmp_path / "board.json")
        return compare_candidates(folders, prepared, *outputs)

    return made


def test_the_cheapest_of_those_that_cannot_be_told_apart_wins(board, tmp_path):
    made = board(("slow", 57, 0.03), ("quick", 55, 0.0001), ("bad", 20, 0.00001))
    assert made["winner"] == "quick"
    assert made["sentence"] == (
        "slow and quick are not distinguishable on 60 validation rows; the cheapest of them is "
        "quick: it answers in 0.1 ms"
    )
    assert [row["name"] for row in made["rows"]] == ["slow", "quick", "bad"]
    assert [row["distinguishable"] for row in made["rows"]] == [False, False, True]
    behind = made["rows"][2]["behind"]
    assert 0 < behind["low"] < behind["value"] < behind["high"]
    assert read_json(tmp_path / "board.json") == made
    source = next(tmp_path.glob("quick-*")) / "model" / "model.safetensors"
    assert (tmp_path / "winner" / "model.safetensors").read_bytes() == source.read_bytes()
    assert "decided" not in made["rows"][0]


def test_who_is_better_than_all_others_wins_at_any_price(board):
    made = board(("quick", 20, 0.0001), ("slow", 58, 3.0))
    assert made["winner"] == "slow"
    assert made["sentence"].startswith("slow is better than the others on 60 validation rows")


def test_what_was_not_begun_stays_in_the_table(board):
    made = board(("alone", 40, 0.1), ("costly", None, None))
    assert made["sentence"].startswith("alone is the only candidate that finished")
    assert made["rows"][1]["reason"] == NOT_BEGUN["reason"]


def test_a_budget_that_nothing_fits_into_is_said_with_the_cost(board, tmp_path):
    with pytest.raises(UserError, match=r"no candidate fits .*a: needs about 9 s.*MINUTES=20"):
        board(("a", None, None), ("b", None, None))
    assert not (tmp_path / "winner").exists()
    assert not (tmp_path / "board.json").exists()


def test_the_command_makes_the_same_model_again(task, prepared, tmp_path, monkeypatch, capsys):
    linear = all_candidates()["linear"]
    parameters = {**linear.first, "alpha": 0.00023, "loss": "hinge"}
    linear.fit(task, parameters, 7, np.inf, tmp_path / "first")
    record = {"name": "linear", "seed": 7, "parameters": parameters}
    command = shlex.split(command_of(record | {"base_model": "minilm", "max_tokens": 160}))
    (tmp_path / "prepare-reviews").mkdir()
    (tmp_path / "prepare-reviews" / "prepared").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    main(command[3:])
    assert capsys.readouterr().out == "linear-again\n"
    again = tmp_path / "linear-again" / "model.safetensors"
    assert again.read_bytes() == (tmp_path / "first" / "model.safetensors").read_bytes()


def test_a_parameter_that_a_candidate_lacks_is_refused(capsys):
    given = ["--candidate", "linear", "--prepared", "p", "--training-set", "t", "--output", "o"]
    with pytest.raises(SystemExit):
        main([*given, "--parameters", "layers=3"])
    said = capsys.readouterr().err
    assert "linear has no parameter 'layers=3'; it has loss, alpha" in said
