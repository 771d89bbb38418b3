import errno
import re
import sqlite3

import pytest
from sqlalchemy.exc import DatabaseError

from components.shared.machine.errors import NotApproved, UserError, exit_in_words, in_words

DAMAGED = sqlite3.DatabaseError("file is not a database")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("reviews.csv is empty; give a file with rows"), 2, "reviews.csv is empty; give"),
        (NotApproved("version 2 waits"), 5, "version 2 waits"),
        (OSError(errno.ENOSPC, "of pyarrow"), 2, "cannot write .No space.*free some"),
        (OSError(errno.EROFS, "Read-only", "/state/x"), 2, "cannot use /state/x .*name another"),
        (FileExistsError(errno.EEXIST, "File exists", "runs"), 2, "runs .*a file stands where"),
        (NotADirectoryError(errno.ENOTDIR, "Not", "state/a"), 2, "state/a .*a file stands where"),
        (DAMAGED, 2, "a database of the state folder cannot be used .file is not a database"),
        (DatabaseError("SELECT 1", {}, DAMAGED), 2, "cannot be used .file is not a database"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_user_can_fix_is_one_line_and_a_code(error, code, words, capsys):
    def command():
        raise error

    with pytest.raises(SystemExit, match=str(code)):
        exit_in_words(command)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(words, said)


@pytest.mark.parametrize("error", [KeyError("bug"), OSError(errno.EINVAL, "odd"), OSError("odd")])
def test_what_nobody_foresaw_keeps_its_trace(error):
    def command():
        raise error

    assert in_words(error) is None
    with pytest.raises(type(error)):
        exit_in_words(command)


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="runs") as caught:
        (tmp_path / "runs" / "first").mkdir(parents=True)
    assert str(tmp_path / "runs") in in_words(caught.value)
