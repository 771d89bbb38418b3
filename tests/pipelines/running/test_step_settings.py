import pytest

from components.shared.machine.errors import UserError
from pipelines.running import compile as compiling
from pipelines.running import preflight, run
from pipelines.running.step_settings import scale_of_environment


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for variable in ("TRAINING_NODES", "TRAINING_GPUS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("nodes", "gpus", "own_pod"),
    [("", "", True), (1, 0, True), (1, 1, True), (1, 2, False), (2, 0, False), (2, 1, False)],
)
def test_one_process_is_the_step_itself(monkeypatch, nodes, gpus, own_pod):
    for name, value in (("TRAINING_NODES", nodes), ("TRAINING_GPUS", gpus)):
        if value != "":
            monkeypatch.setenv(name, str(value))
    scale = scale_of_environment()
    # One node with one GPU is the default.
    assert (scale.nodes, scale.gpus_per_node) == ((1, 1) if nodes == "" else (nodes, gpus))
    assert scale.in_own_pod is own_pod


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TRAINING_NODES", "0"), ("TRAINING_NODES", "two"), ("TRAINING_GPUS", "-1")],
)
def test_other_values_are_refused(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=f"{variable} is '{value}'"):
        scale_of_environment()


@pytest.mark.parametrize(
    ("command", "words"), [(compiling, []), (preflight, []), (run, ["training"])]
)
def test_command_lines_say_it_in_a_sentence(monkeypatch, capsys, tmp_path, command, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINING_GPUS", "two")
    with pytest.raises(SystemExit, match="2"):
        command.main(words)
    said = capsys.readouterr().err
    assert said.startswith("error: TRAINING_GPUS is 'two'")
    assert said.count("\n") == 1
