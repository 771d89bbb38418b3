"""The answers that ask to decide anew."""

from components.shared.machine.errors import UserError


class Conflict(Exception):  # noqa: N818 (it is an answer to decide anew on, not a fault)
    """The object is no longer as it was read: read it again and decide anew."""


class Gone(UserError):  # noqa: N818 (the same)
    """The object that was waited for is not there any more."""
