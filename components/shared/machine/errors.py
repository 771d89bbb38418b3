"""The errors that a user is meant to read, and the exit codes of the commands."""

import errno
import os
import sqlite3
import sys
from collections.abc import Callable

FAILED, CANNOT, GATE_CLOSED, ROLLED_BACK, NOT_APPROVED, DRIFTED = 1, 2, 3, 4, 5, 6
INTERRUPTED = 130

EXIT_CODES = """exit codes:
  0    done
  1    an error that the project does not know
  2    an error that the user can fix: one sentence says how
  3    the gate closed: the model was trained, but not registered
  4    the version was rolled back, or lost the A/B test
  5    the version is not approved: it waits, or the check before its approval failed
  6    the reviews drifted, or the model is no longer as right as on its test
  130  interrupted"""
"""For the end of `--help`."""

_DISK_FULL = "free some space, or name a folder on another disk"
_NO_PERMISSION = "allow it, or name another folder"
_NO_FOLDER = "a file stands where a folder is wanted: move it away, or name another folder"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _DISK_FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NO_PERMISSION),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _NO_FOLDER),
    errno.EISDIR: "a folder stands where a file is wanted: move it away",
    errno.ENAMETOOLONG: "name another folder, with a shorter path",
    errno.EIO: "the disk fails: name a folder on another one",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}


class UserError(ValueError):
    """Something the user can fix: one sentence that names the thing and the remedy.

    Commands print its text alone, without a stack trace, and exit with its code.
    """

    exit_code = CANNOT


class NotApproved(UserError):  # noqa: N818 (what it says is what the version is)
    """A version that nobody approved was to serve."""

    exit_code = NOT_APPROVED


def in_words(error: BaseException) -> str | None:
    """The sentence for an error that a user can fix; None for one that nobody foresaw."""
    if isinstance(error, UserError):
        return str(error)
    said = getattr(error, "orig", None) or error  # SQLAlchemy's, of the database below it
    if isinstance(said, sqlite3.DatabaseError):
        return (
            f"a database of the state folder cannot be used ({said}); check that its disk has "
            "space and may be written, or restore the folder from a copy"
        )
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        what = f"cannot use {error.filename}" if error.filename else "cannot write"
        return f"{what} ({os.strerror(error.errno)}); {_REMEDIES[error.errno]}"
    return None


def exit_in_words(command: Callable[[], None]) -> None:
    """Run a command's body: what `in_words` knows is one line, an interrupt exit code 130."""
    try:
        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        words = in_words(error)
        if words is None:
            raise
        print(f"error: {words}", file=sys.stderr)
        raise SystemExit(getattr(error, "exit_code", CANNOT)) from None
