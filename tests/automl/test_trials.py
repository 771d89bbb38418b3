import math
import time
from dataclasses import replace

import pytest

from components.automl.budget import Budget
from components.automl.candidate import Candidate, OutOfTimeError
from components.automl.candidates import all_candidates
from components.automl.trials import try_candidate
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.machine.search_space import Parameter
from components.shared.records.model_folder import check_model_folder

LINEAR = all_candidates()["linear"]


def tried(task, folder, candidate=LINEAR, trials=1, seconds=600.0, **limits):
    record = try_candidate(
        *(candidate, task, Budget(**limits)),
        **{"trials": trials, "deadline": time.time() + seconds, "seed": 1, "folder": folder},
    )
    assert read_json(folder / "candidate.json") == record
    return record


def worked(how):
    """A candidate whose trials go as `how` says, by the number of the trial."""

    def fit(task, parameters, seed, deadline, folder):
        outcome = how[int(parameters["number"])]
        if isinstance(outcome, Exception):
            raise outcome
        LINEAR.fit(task, {**LINEAR.first, "alpha": outcome}, seed, deadline, folder)

    numbers = tuple(range(1, len(how)))
    searched = (Parameter("number", "discrete", choices=numbers),) if numbers else ()
    return Candidate("made_up", "for a test", 1, {"number": 0}, searched, lambda task: 0.1, fit)


def test_the_record_says_what_was_tried_and_the_best_is_kept(task, tmp_path):
    record = tried(task, tmp_path / "candidate", worked([10.0, 1e-4]), trials=3)
    assert [trial["status"] for trial in record["trials"]] == ["finished"] * 3
    scores = [trial["macro_f1"] for trial in record["trials"]]
    assert record["macro_f1"] == max(scores) > scores[0]
    assert record["parameters"] == {"number": 1}
    folder = check_model_folder(tmp_path / "candidate" / "model")
    assert record["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert record["latency_seconds"] > 0
    assert len(record["decided"]) == len(task.validation)


def test_a_trial_that_fails_is_its_own_result(task, tmp_path):
    outcomes = [OutOfTimeError(), UserError("the vocabulary is empty; give more")]
    record = tried(task, tmp_path / "failed", worked(outcomes), trials=2)
    assert record["status"] == "failed"
    assert record["reason"] == "the vocabulary is empty; give more"
    assert not (tmp_path / "failed" / "model").exists()
    record = tried(task, tmp_path / "one", worked([ZeroDivisionError("oops"), 1e-4]), trials=2)
    assert record["status"] == "finished"
    assert record["trials"][0]["reason"] == "ZeroDivisionError: oops"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"trials": 0, "max_candidates": 2}, "max_candidates is 2, and cheaper candidates"),
        ({"seconds": -1.0}, "the time was over before it could begin"),
        ({"seconds": 5.0, "estimate": 50.0}, "needs about 50 s, and 5.0 s were left"),
        ({"max_seconds_per_candidate": 3.0, "estimate": 4.0}, "a candidate may take 3.0 s"),
    ],
)
def test_what_does_not_fit_is_not_begun_and_says_so(task, tmp_path, changed, why):
    candidate = worked([AssertionError("begun")])
    candidate = replace(candidate, estimate=lambda task: changed.get("estimate", 0.0))
    given = {name: value for name, value in changed.items() if name != "estimate"}
    record = tried(task, tmp_path / "candidate", candidate, **given)
    assert (record["status"], record["trials"]) == ("not begun", [])
    assert why in record["reason"]
    assert [file.name for file in (tmp_path / "candidate").iterdir()] == ["candidate.json"]


def test_further_trials_wait_for_no_one(task, tmp_path):
    record = tried(task, tmp_path / "candidate", worked([1e-4] * 50), trials=50, seconds=2.0)
    assert 1 <= len(record["trials"]) < 50


def test_a_cost_that_cannot_be_measured_is_a_failure(task, tmp_path):
    def estimate(task):
        raise UserError("base model x cannot be loaded")

    record = tried(task, tmp_path / "candidate", replace(LINEAR, estimate=estimate))
    assert (record["status"], record["reason"]) == ("failed", "base model x cannot be loaded")


def test_the_measured_cost_grows_with_the_rows(task):
    few = LINEAR.estimate(task.first(40))
    assert 0 < few < 60
    assert LINEAR.estimate(task) < 60
    assert math.isfinite(few)
