import pytest

from components.training.tuning.trials import best_trial


def trial(number, status="finished", score=0.4):
    metrics = {} if status == "failed" else {"accuracy": 0.5, "macro_f1": score}
    return {"trial": number, "metrics": metrics, "status": status}


@pytest.mark.parametrize(
    ("table", "best"),
    [
        ([trial(1), trial(2, score=0.5), trial(3, score=0.5)], 2),
        # One that was stopped has the score that it had reached, not one that it would have kept.
        ([trial(1, "stopped early", 0.9), trial(2)], 2),
        ([trial(1, "failed"), trial(2)], 2),
    ],
)
def test_the_first_of_the_best_that_finished_is_taken(table, best):
    assert best_trial(table, "macro_f1", maximize=True)["trial"] == best


def test_less_is_better_where_the_manifest_minimizes():
    table = [trial(1, score=0.3), trial(2, score=0.2)]
    assert best_trial(table, "macro_f1", maximize=False)["trial"] == 2


def test_where_none_finished_there_is_no_best():
    assert (
        best_trial([trial(1, "failed"), trial(2, "stopped early")], "macro_f1", maximize=True)
        is None
    )
