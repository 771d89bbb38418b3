"""The one kind of error that a user is meant to read."""

import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something the user can fix: one sentence that names the thing and the remedy.

    Commands print its text alone, without a stack trace, and exit with code 2.
    """


def exit_in_words(command: Callable[[], None]) -> None:
    """Run a command's body: a `UserError` is one line and exit code 2, an interrupt code 130."""
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
