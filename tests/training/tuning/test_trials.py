import pytest
import yaml

from components.shared.machine.errors import UserError
from components.training.tuning.experiment import Parameter, SearchSpace
from components.training.tuning.trials import best_of, write_trials_table

SPACE = SearchSpace((Parameter("dropout", "double", 0.1, 0.5),), "macro_f1", True, None)


def trial(number, status="finished", score=0.4, **more):
    return {
        "trial": number,
        "parameters": {"dropout": number / 10},
        "metrics": {} if status == "failed" else {"accuracy": 0.5, "macro_f1": score},
        "status": status,
        "seconds": 3.0,
        **more,
    }


@pytest.mark.parametrize(
    ("table", "best"),
    [
        ([trial(1), trial(2, score=0.5), trial(3, score=0.5)], 2),
        # One that was stopped tells what it had reached, not what it would have kept.
        ([trial(1, "stopped early", 0.9), trial(2)], 2),
        ([trial(1, "failed", reason="out of memory"), trial(2)], 2),
    ],
)
def test_the_first_of_the_best_that_finished_is_taken(table, best):
    options, scores = best_of(table, SPACE, {"epochs": 2, "dropout": 0.0})
    assert options["dropout"] == best / 10
    assert options["epochs"] == 2
    assert scores == table[best - 1]["metrics"]


def test_where_none_finished_the_last_reason_is_told():
    with pytest.raises(UserError, match="all 2 trials failed; the last one: out of memory"):
        best_of([trial(1, "failed", reason="out of memory"), trial(2, "stopped early")], SPACE, {})


def test_the_table_escapes_and_marks_the_best(tmp_path):
    experiment = tmp_path / "experiment.yaml"
    space = {
        "name": "dropout",
        "parameterType": "double",
        "feasibleSpace": {"min": "0", "max": "1"},
    }
    spec = {
        "objective": {"type": "maximize", "objectiveMetricName": "macro_f1"},
        "algorithm": {"algorithmName": "random"},
        "parameters": [space],
    }
    experiment.write_text(yaml.safe_dump({"kind": "Experiment", "spec": spec}))
    table = [trial(1), trial(2, "failed", reason="<script>"), trial(3, "stopped early", 0.9)]
    write_trials_table(table, experiment, tmp_path / "table.html")
    page = (tmp_path / "table.html").read_text()
    assert page.count('<tr class="best">') == 1
    assert '<tr class="best"><td>1</td>' in page
    assert "<td>stopped early</td>" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
