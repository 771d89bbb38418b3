import pytest

from components.shared.machine.errors import UserError, exit_in_words


def test_a_users_error_is_one_line_and_code_2_and_one_of_ours_keeps_its_trace(capsys):
    def command(error):
        raise error

    with pytest.raises(SystemExit, match="2"):
        exit_in_words(lambda: command(UserError("reviews.csv is empty; give a file with rows")))
    assert capsys.readouterr().err == "error: reviews.csv is empty; give a file with rows\n"
    with pytest.raises(KeyError):
        exit_in_words(lambda: command(KeyError("bug")))
