"""Simulated reviewers: accounts like anybody's, and votes by the calls that the pages make.

For `make loop` and the tests. A share of the votes goes the way of a person's, one call each; the
others come with the items, in one call for hundreds.
"""

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from components.review.label_studio.client import LabelStudio
from components.review.label_studio.page import vote_of
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet

logger = logging.getLogger(__name__)

_SIDE_BY_SIDE = 4
_FORM_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Cast:
    """How many votes were cast, one call each and together with the items."""

    by_calls: int
    in_bulk: int


def cast_votes(
    client: LabelStudio,
    labels: LabelSet,
    items: Sequence[Mapping[str, Any]],
    votes: Mapping[str, Mapping[str, str]],
    *,
    password: str,
    share: float = 0.1,
) -> Cast:
    """Send items and have simulated people vote on them; goes on where it was stopped.

    Args:
        client: Client of the service.
        labels: The classes.
        items: As `LabelStudio.send` takes them.
        votes: Answer (class name or `cannot_tell`) by item id and e-mail address.
        password: Password of all the simulated people; the same when it goes on.
        share: Share of the items that are sent as ever, and voted on one call each.
    """
    people = sorted({person for answers in votes.values() for person in answers})
    accounts = {person: Account(client, person, password) for person in people}
    numbers = client.people()
    project = client.ensure_project(labels, max(1, len(people)))
    client.send(project, items[: math.ceil(share * len(items))])
    one_by_one = client.tasks(project)
    in_bulk = {
        item: [
            {**vote_of(labels, answer), "completed_by": numbers[person]}
            for person, answer in answers.items()
        ]
        for item, answers in votes.items()
        if item not in one_by_one
    }
    there = {(vote.item_id, vote.person) for vote in client.read_votes(project)}
    missing = [
        (accounts[person], one_by_one[item], vote_of(labels, answer))
        for item, answers in votes.items()
        for person, answer in answers.items()
        if item in one_by_one and (item, person) not in there
    ]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        list(pool.map(lambda one: one[0].vote(*one[1:]), missing))
    client.send(project, items, in_bulk)
    return Cast(len(missing), sum(map(len, in_bulk.values())))


class Account:
    """A reviewer's account, made by the invitation link as a person makes one.

    Attributes:
        client: Signed in as they are.
    """

    def __init__(self, client: LabelStudio, email: str, password: str) -> None:
        """Sign in; sign up first where there is no such account.

        Raises:
            UserError: If the service does not let them in.
        """
        self.client = httpx.Client(
            base_url=client.url, timeout=60, follow_redirects=True, transport=client.transport
        )
        link = client.invite_link() if email not in client.people() else ""
        page = link.removeprefix(client.url) or "/user/login/"
        form = _FORM_TOKEN.search(self.client.get(page).text)
        answer = self.client.post(
            page,
            data={
                **{"email": email, "password": password},
                "csrfmiddlewaretoken": form[1] if form else "",
            },
            headers={"Referer": client.url + page},
        )
        if not answer.is_success or not self.client.get("/api/current-user/whoami").is_success:
            raise UserError(f"Label Studio does not let {email} in; is the password another one?")

    def vote(self, task: int, vote: Mapping[str, Any]) -> None:
        """Vote on a task as the page does."""
        answer = self.client.post(f"/api/tasks/{task}/annotations/", json=vote)
        if not answer.is_success:
            raise UserError(f"Label Studio refused a vote ({answer.status_code}): {answer.text}")


def emails(count: int) -> Iterator[str]:
    """E-mail addresses of simulated people, at a domain that nobody can own."""
    return (f"reviewer-{number}@reviewers.example" for number in range(1, count + 1))
