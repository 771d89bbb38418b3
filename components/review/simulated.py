"""Simulated people, and a review service in memory: for tests, benchmarks and `make loop`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from components.review.service import Sent
from components.shared.records.labels import LabelSet
from components.shared.records.review_items import CANNOT_TELL
from components.shared.records.splits import keyed_order
from components.shared.records.votes import RawVote


@dataclass(frozen=True)
class SimulatedPerson:
    """Somebody who errs at a stated rate: then each wrong class is as likely as the others."""

    name: str
    error: float = 0.05
    cannot_tell: float = 0.0
    always: str = ""  # what a lazy person clicks, whatever the text says
    seconds: float = 15.0

    def answer(self, item_id: str, truth: str, labels: LabelSet, seed: int) -> str:
        """What the person says about an item; the same each time for the same seed."""
        if self.always:
            return self.always
        random = np.random.default_rng([seed, keyed_order(f"{self.name}\n{item_id}", seed)])
        chance = random.random()
        if chance < self.cannot_tell:
            return CANNOT_TELL
        if chance < self.cannot_tell + self.error:
            return str(random.choice([name for name in labels.names if name != truth]))
        return truth


def simulated_votes(
    truth: Mapping[str, str],
    people: Sequence[SimulatedPerson],
    labels: LabelSet,
    when: datetime,
    *,
    each: int = 3,
    seed: int = 42,
) -> list[RawVote]:
    """Votes of `each` of the people on each item, taken in turn so that all get as many.

    Args:
        truth: True class name by item id.
        people: Who votes.
        labels: The classes.
        when: Time of the first vote.
        each: Persons who see an item.
        seed: Seed of who errs where.
    """
    votes = []
    for number, (item_id, true_name) in enumerate(sorted(truth.items())):
        for turn in range(min(each, len(people))):
            person = people[(number + turn) % len(people)]
            label = person.answer(item_id, true_name, labels, seed)
            at = when + timedelta(seconds=person.seconds * (number + 1))
            name = f"{person.name}/{item_id}"
            votes.append(RawVote(item_id, name, person.name, label, at, person.seconds))
    return votes


class ServiceInMemory:
    """A review service that keeps everything in memory, and answers as the real one does."""

    def __init__(self) -> None:
        self.projects: dict[str, int] = {}
        self.items: dict[int, dict[str, Mapping[str, Any]]] = {}
        self.votes: dict[int, dict[str, RawVote]] = {}

    def ensure_project(self, labels: LabelSet, people: int, name: str = "") -> int:
        """As the protocol says; `people` is not held to."""
        number = self.projects.setdefault(f"{labels}/{name}", len(self.projects) + 1)
        self.items.setdefault(number, {})
        self.votes.setdefault(number, {})
        return number

    def send(self, project: int, items: Sequence[Mapping[str, Any]]) -> Sent:
        """As the protocol says."""
        known = self.items[project]
        new = {item["item_id"]: item for item in items if item["item_id"] not in known}
        known.update(new)
        return Sent(len(new), len(items) - len(new))

    def item_ids(self, project: int) -> Collection[str]:
        """As the protocol says."""
        return set(self.items[project])

    def read_votes(self, project: int) -> list[RawVote]:
        """As the protocol says."""
        return list(self.votes[project].values())

    def delete(self, item_ids: Collection[str]) -> int:
        """As the protocol says."""
        gone = set(item_ids)
        before = sum(map(len, self.items.values()))
        for project, items in self.items.items():
            self.items[project] = {name: row for name, row in items.items() if name not in gone}
            votes = self.votes[project].items()
            self.votes[project] = {n: vote for n, vote in votes if vote.item_id not in gone}
        return before - sum(map(len, self.items.values()))

    def cast(self, project: int, votes: Iterable[RawVote]) -> None:
        """Let people vote; a vote of the same number replaces the one before."""
        self.votes[project].update({vote.annotation_id: vote for vote in votes})
