import pytest
from filelock import FileLock

from components.shared.machine.errors import UserError
from pipelines.running import watch as module
from pipelines.running.watch import main, watch


@pytest.fixture
def codes(monkeypatch):
    """Exit codes of the turns to come; what each was asked."""
    given, asked = [0], []

    def turn(state, words):
        asked.append(list(words))
        return given[min(len(asked), len(given)) - 1]

    monkeypatch.setattr(module, "_turn", turn)
    turn.given, turn.asked = given, asked
    return turn


def test_a_turn_that_fails_does_not_end_the_watch(codes, tmp_path, capsys):
    codes.given[:] = [2, 4, 0]
    slept = []
    watch(tmp_path, ["--log-uri", "log"], 60, turns=3, sleep=slept.append)
    assert codes.asked == [["--log-uri", "log"]] * 3
    assert len(slept) == 2
    assert all(50 < pause <= 60 for pause in slept)
    said = capsys.readouterr().out
    assert "turn 1: failed with code 2" in said
    assert "turn 2: rolled back" in said
    assert "turn 3: done" in said


def test_two_watches_of_one_state_are_refused(codes, tmp_path, capsys):
    with FileLock(tmp_path / ".watch.lock"), pytest.raises(SystemExit) as ended:
        main(["--state", str(tmp_path), "--log-uri", "log"])
    assert ended.value.code == 2
    assert "is being watched already" in capsys.readouterr().err
    assert codes.asked == []


@pytest.mark.parametrize("every", [0, -1, float("nan")])
def test_a_pause_that_makes_no_sense_is_refused(codes, tmp_path, every):
    with pytest.raises(UserError, match="--every"):
        watch(tmp_path, [], every)


def test_the_options_of_the_pipeline_are_handed_on(codes, tmp_path):
    main(["--state", str(tmp_path), "--turns", "1", "--log-uri", "x", "--trigger", "a=1", "b=2"])
    assert codes.asked == [["--log-uri", "x", "--trigger", "a=1", "b=2"]]
