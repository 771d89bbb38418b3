"""The scale of training: what the environment may say, and who computes."""

import pytest

from components.shared.machine.errors import UserError
from pipelines.running import compile as compiling
from pipelines.running import preflight, run
from pipelines.running.step_settings import TrainingScale, scale_of_environment


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TRAINING_NODES", "TRAINING_GPUS"):
        monkeypatch.delenv(variable, raising=False)


def test_one_node_with_one_gpu_is_the_default() -> None:
    assert scale_of_environment() == TrainingScale(nodes=1, gpus_per_node=1)


@pytest.mark.parametrize(
    ("nodes", "gpus", "own_pod"),
    [(1, 0, True), (1, 1, True), (1, 2, False), (2, 0, False), (2, 1, False)],
)
def test_one_process_is_the_step_itself(monkeypatch, nodes, gpus, own_pod) -> None:
    monkeypatch.setenv("TRAINING_NODES", str(nodes))
    monkeypatch.setenv("TRAINING_GPUS", str(gpus))
    scale = scale_of_environment()
    assert (scale.nodes, scale.gpus_per_node) == (nodes, gpus)
    assert scale.in_own_pod is own_pod


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TRAINING_NODES", "0"), ("TRAINING_NODES", "two"), ("TRAINING_GPUS", "-1")],
)
def test_other_values_are_refused(monkeypatch, variable, value) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=f"{variable} is '{value}'"):
        scale_of_environment()


@pytest.mark.parametrize(
    ("command", "words"), [(compiling, []), (preflight, []), (run, ["training"])]
)
def test_command_lines_say_it_in_a_sentence(monkeypatch, capsys, tmp_path, command, words) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINING_GPUS", "two")
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: TRAINING_GPUS is 'two'")
    assert said.count("\n") == 1
