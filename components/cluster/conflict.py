"""The answer that asks to decide anew."""


class Conflict(Exception):  # noqa: N818 (it is an answer to decide anew on, not a fault)
    """The object is no longer as it was read: read it again and decide anew."""
