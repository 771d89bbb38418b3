import json
from contextlib import closing

import pytest

from components.shared.machine.cost import Usage
from components.shared.machine.errors import UserError
from pipelines.running.cost import main, measured, reserved
from tests.stand_ins.pipelines_api import PipelinesApi


def task(name, started="2026-11-20T10:00:00Z", ended="2026-11-20T10:00:30Z"):
    return {"display_name": name, "start_time": started, "end_time": ended}


@pytest.fixture
def kubeflow():
    with closing(PipelinesApi()) as server:
        yield server


def test_a_run_of_this_machine_is_a_table_and_its_sum(tmp_path, capsys):
    used = {"wall_seconds": 10.0, "cpu_seconds": 20.0, "gpu_seconds": 0.0, "peak_bytes": 2**30}
    usage = {"ingest-reviews": used, "fine-tune-classifier": used | {"cpu_seconds": 7200.0}}
    (tmp_path / "run.json").write_text(json.dumps({"step_usage": usage}))
    main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[0] == "fine-tune-classifier"
    assert lines[-1].split()[:4] == ["in", "all", "20.0", "7220.0"]
    assert float(lines[-1].split()[-1]) == pytest.approx(0.0802, abs=1e-3)


def test_on_kubeflow_a_step_costs_what_it_reserved_for_as_long_as_it_lasted(kubeflow):
    kubeflow.tasks = [
        task("evaluate-classifier"),
        task("evaluate-classifier", ended="2026-11-20T10:00:10Z"),  # tried again
        task("evaluate-classifier-driver"),
        task("export-for-serving", ended=None),
    ]
    usage = reserved("r1", kubeflow.url, "reviews")
    assert usage == {"evaluate-classifier": Usage(40, 80, 0, 6 * 10**9)}


@pytest.mark.parametrize("tasks", [[], [task("condition-1")]])
def test_a_run_without_steps_is_refused(kubeflow, tasks):
    kubeflow.tasks = tasks
    with pytest.raises(UserError, match="run r1 has no step that ended"):
        reserved("r1", kubeflow.url, "reviews")


def test_a_run_that_does_not_say_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json does not say what was used"):
        measured(tmp_path)


def test_a_folder_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["runs/yesterday"])
    assert "there is no run folder runs/yesterday" in capsys.readouterr().err
