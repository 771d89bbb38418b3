"""The one kind of error that a user is meant to read."""

import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something the user can fix: one sentence that names the thing and the remedy.

    Commands print its text alone, without a stack trace, and exit with code 2.
    """


def exit_in_words(command: Callable[[], None]) -> None:
    """Run a command line's body: exit code 2 and one line on stderr after a `UserError`.

    Raises:
        SystemExit: With code 2 after a `UserError`, 130 after an interrupt.
    """
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
