"""Simulated people who review what Label Studio shows them, one after the other, as people do."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.review.label_studio.client import LabelStudio
from components.review.label_studio.page import vote_of
from components.review.label_studio.reviewers import Account
from components.review.simulated import SimulatedPerson
from components.shared.records.labels import LabelSet


def password_in(file: Path) -> str:
    """The password of all simulated people, made at the first call and kept for those after it."""
    if not file.exists():
        file.touch(0o600)
        file.write_text(secrets.token_urlsafe(16), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def review(
    client: LabelStudio,
    project: int,
    labels: LabelSet,
    people: Sequence[SimulatedPerson],
    truth: Mapping[str, str],
    password: str,
    seed: int,
) -> int:
    """Let everyone vote in turn until nobody is shown anything more; the number of votes.

    Args:
        client: Of the service; invites people who have no account yet.
        project: The project that holds the reviews.
        labels: The classes.
        people: Who reviews.
        truth: True class name by item id; who errs gives another.
        password: Of their accounts.
        seed: Seed of who errs where.
    """
    from tqdm import tqdm

    accounts = {
        person: Account(client, f"{person.name}@reviewers.example", password) for person in people
    }
    waiting, votes = list(people), 0
    with tqdm(desc="  votes", unit=" votes", mininterval=1.0) as progress:
        while waiting:
            for person in list(waiting):
                shown = accounts[person].client.get(f"/api/projects/{project}/next")
                if shown.status_code == 404:
                    waiting.remove(person)
                    continue
                task = shown.raise_for_status().json()
                item = str(task["data"]["item_id"])
                answer = person.answer(item, truth[item], labels, seed)
                vote = vote_of(labels, answer, person.seconds)
                accounts[person].vote(int(task["id"]), vote)
                votes += 1
                progress.update()
    return votes
