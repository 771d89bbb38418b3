import pytest

from components.shared.machine.commands import make_command


@pytest.mark.parametrize(
    ("model_name", "state", "line"),
    [
        ("review-sentiment", "", "make approve VERSION=2"),
        ("review-sentiment", "state", "make approve VERSION=2"),
        ("review-sentiment", "{here}/state", "make approve VERSION=2"),
        ("fr", "", "make approve VERSION=2 MODEL_NAME=fr"),
        ("review-sentiment", "/my state", "make approve VERSION=2 STATE='/my state'"),
    ],
)
def test_a_command_names_what_differs_from_makes_own(
    tmp_path, monkeypatch, model_name, state, line
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCAL_STATE", state.format(here=tmp_path))
    assert make_command("approve", model_name, VERSION=2) == line
