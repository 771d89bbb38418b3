import pytest

from components.shared.machine.errors import UserError, exit_in_words


def test_a_user_error_is_one_line_and_code_2(capsys):
    def command():
        raise UserError("reviews.csv is empty; give a file with rows")

    with pytest.raises(SystemExit) as exited:
        exit_in_words(command)
    assert exited.value.code == 2
    assert capsys.readouterr().err == "error: reviews.csv is empty; give a file with rows\n"


def test_an_error_of_ours_keeps_its_trace():
    def command():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        exit_in_words(command)
