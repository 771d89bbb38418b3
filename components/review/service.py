"""The review service as this room sees it, whichever tool stands behind it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from components.shared.records.labels import LabelSet
from components.shared.records.votes import RawVote

ADJUDICATION = "adjudication"
"""Name of the project in which items that stay in doubt are shown to one person more."""


class Sent(NamedTuple):
    """What became of items that were sent."""

    sent: int
    there_already: int


class ReviewService(Protocol):
    """What a review service does; each call may be repeated, and waits while the service is down.

    Whoever implements it raises `UserError` in one sentence: a wrong token, a service that stays
    away.
    """

    def ensure_project(self, labels: LabelSet, people: int, name: str = "") -> int:
        """Number of the project with this name that asks `people` persons about each item."""
        ...

    def send(self, project: int, items: Sequence[Mapping[str, Any]]) -> Sent:
        """Send rows of `review_items_schema`; an item that is there already is not sent again."""
        ...

    def item_ids(self, project: int) -> Collection[str]:
        """The items that the project holds."""
        ...

    def read_votes(self, project: int) -> list[RawVote]:
        """All votes of the project, checked by nobody."""
        ...

    def delete(self, item_ids: Collection[str]) -> int:
        """Remove items with their votes from all projects; how many there were."""
        ...
