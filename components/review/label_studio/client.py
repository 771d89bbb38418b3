"""Review items to Label Studio, and votes from it; everything may be repeated without harm.

Label Studio is the record of what was sent. It knows no unique key and takes the same item twice,
so what it holds is listed before anything is sent, one sender at a time.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components.review.label_studio.connection import Connection, Lost, Refused
from components.review.label_studio.page import (
    CHOICE,
    answers,
    instructions,
    labelling_page,
    title_of,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import locked
from components.shared.records.labels import LabelSet
from components.shared.records.votes import RawVote

logger = logging.getLogger(__name__)

_CHUNK = 500
_LIST_PAGE = 5000
_OURS = "review-sentiment:"
_MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class Sent:
    """What became of a list of items.

    Attributes:
        sent: How many the service took.
        there_already: How many it had.
        refused: Why it did not take the others, by item id.
    """

    sent: int
    there_already: int
    refused: Mapping[str, str]


class LabelStudio:
    """Projects, items and votes of one Label Studio."""

    def __init__(self, url: str, token: str, lock: Path | None = None, **settings: Any) -> None:
        """Know the service; nothing is asked yet.

        Args:
            url: Its address.
            token: Of an administrator's account: see `Connection`.
            lock: File that senders lock, so that one sends at a time; on a cluster on the volume
                that the steps share.
            **settings: Further ones of `Connection`, such as `patience`.
        """
        self._to = Connection(url, token, **settings)
        self._lock = lock
        self._answers: dict[int, dict[str, str]] = {}

    def wait(self) -> None:
        """Return once it answers, knowing that it takes the token.

        Raises:
            UserError: If it does not answer in time, or refuses the token.
        """
        self._to.wait()
        self._to.ask("GET", "/api/current-user/whoami")

    def ensure_project(self, labels: LabelSet, people: int = 1) -> int:
        """Id of the project for a label set; made where there is none, as in an empty database.

        Args:
            labels: The classes that reviewers choose from.
            people: How many people are asked about each item.
        """
        marker = f"{_OURS} {labels}"
        wanted = {
            "title": title_of(labels),
            "description": marker,
            "label_config": labelling_page(labels),
            "expert_instruction": instructions(labels),
            "show_instruction": True,
            "show_skip_button": False,  # there is an answer for those who cannot tell
            "enable_empty_annotation": False,
            "maximum_annotations": people,
            "sampling": "Sequential sampling",
            "show_collab_predictions": False,
            "evaluate_predictions_automatically": False,
            "reveal_preannotations_interactively": False,
        }
        with self._alone():
            there = self._found_or_made(marker, wanted)
            changed = {name: value for name, value in wanted.items() if there.get(name) != value}
            if changed:
                self._to.ask("PATCH", f"/api/projects/{there['id']}", json=changed)
        number = int(there["id"])
        self._answers[number] = answers(labels)
        return number

    def send(self, project: int, items: Sequence[Mapping[str, Any]]) -> Sent:
        """Send what the project does not hold yet; goes on after the service was down.

        Args:
            project: Its id.
            items: With `item_id`, `review_body` and, where there are, `title`, `queue` and
                `inclusion_probability`. Nothing else of them leaves: no label of a model.

        Raises:
            UserError: If the service is down for longer than we wait; run again, it goes on.
        """
        wanted = {str(item["item_id"]): item for item in items}
        refused: dict[str, str] = {}
        with self._alone():
            before = {item for _, item in self._tasks(project)}
            missing: list[dict[str, Any]] | None = None

            def step() -> bool:
                nonlocal missing
                if missing is None:
                    missing = self._missing(project, wanted, refused)
                try:
                    self._import(project, missing[:_CHUNK], refused)
                except Lost:
                    missing = None  # what was taken before the answer was lost is not sent again
                    raise
                missing = missing[_CHUNK:]
                return not missing

            self._to.until_done(step)
        there = len(before & wanted.keys())
        for item, why in refused.items():
            logger.warning("Label Studio did not take item %s: %s", item, why)
        return Sent(len(wanted) - there - len(refused), there, refused)

    def item_ids(self, project: int) -> set[str]:
        """The items that the project holds."""
        return {item for _, item in self._tasks(project)}

    def read_votes(self, project: int) -> list[RawVote]:
        """All votes of a project, oldest first, by class name or `cannot_tell`.

        The service takes anything for a vote, and several of one person. All of it is handed on for
        those who count to judge: an answer that is none as it is stored, an empty one as "".
        """
        known = self._answers.get(project) or self._answers_of(project)
        people = {one["id"]: one["email"].strip().lower() for one in self._listed("/api/users")}
        path = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=false"
        votes = [
            _vote(task, annotation, known, people)
            for task in self._to.ask("GET", path)
            for annotation in task.get("annotations") or []
        ]
        return sorted(votes, key=lambda vote: (vote.updated_at, vote.annotation_id))

    def delete(self, item_ids: Collection[str]) -> int:
        """Delete items with all their votes, from every project of ours; how many there were."""
        gone, deleted = set(item_ids), 0
        with self._alone():
            for project in self._projects():
                for task, item in list(self._tasks(project["id"])):
                    if item in gone:
                        deleted += self._delete_task(task)
        return deleted

    def invite_link(self) -> str:
        """The address by which a person makes an account of their own."""
        path: str = self._to.ask("GET", "/api/invite")["invite_url"]
        return path if path.startswith("http") else self._to.url + path

    def _alone(self) -> Any:
        return locked(self._lock) if self._lock else nullcontext()

    def _found_or_made(self, marker: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def step() -> bool:
            found.extend(one for one in self._projects() if one["description"] == marker)
            if not found:
                self._to.ask("POST", "/api/projects", json=wanted, repeat=False)
            return bool(found)

        self._to.until_done(step)
        return found[0]

    def _projects(self) -> list[dict[str, Any]]:
        found = self._listed("/api/projects?page_size=100")
        return [one for one in found if str(one.get("description") or "").startswith(_OURS)]

    def _listed(self, path: str) -> list[dict[str, Any]]:
        """All of a list that may come in pages."""
        found: list[dict[str, Any]] = []
        answer = self._to.ask("GET", path)
        while isinstance(answer, dict):
            found += answer["results"]
            if not answer.get("next"):
                return found
            query = answer["next"].partition("?")[2]
            answer = self._to.ask("GET", f"{path.partition('?')[0]}?{query}")
        return [*found, *answer]

    def _tasks(self, project: int) -> Iterator[tuple[int, str]]:
        """Id of each task and of its item, in the order in which they were made."""
        page = 1
        while True:
            ask = f"project={project}&page={page}&page_size={_LIST_PAGE}&fields=task_only"
            try:
                answer = self._to.ask("GET", f"/api/tasks?{ask}&include=id,data")
            except Refused as refused:
                if refused.status == 404 and page > 1:
                    return
                raise
            for task in answer["tasks"]:
                if item := task["data"].get("item_id"):
                    yield int(task["id"]), str(item)
            if page * _LIST_PAGE >= answer["total"]:
                return
            page += 1

    def _missing(
        self, project: int, wanted: Mapping[str, Any], refused: Collection[str]
    ) -> list[dict[str, Any]]:
        """Tasks to send. A double, of a sender that timed out while it was heard, is deleted."""
        there: set[str] = set()
        for task, item in list(self._tasks(project)):
            if item in there and item in wanted:
                self._delete_task(task)
            there.add(item)
        return [_task(item) for name, item in wanted.items() if name not in {*there, *refused}]

    def _import(
        self, project: int, tasks: Sequence[Mapping[str, Any]], refused: dict[str, str]
    ) -> None:
        """Import tasks; a single bad one makes the service refuse all, so it is looked for."""
        if not tasks:  # which it would refuse, too
            return
        try:
            self._to.ask("POST", f"/api/projects/{project}/import", json=tasks, repeat=False)
        except Refused as error:
            if error.status != 400:
                raise
            if len(tasks) == 1:
                refused[tasks[0]["data"]["item_id"]] = error.said
                return
            half = len(tasks) // 2
            self._import(project, tasks[:half], refused)
            self._import(project, tasks[half:], refused)

    def _delete_task(self, task: int) -> bool:
        try:
            self._to.ask("DELETE", f"/api/tasks/{task}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def _answers_of(self, project: int) -> dict[str, str]:
        marker = self._to.ask("GET", f"/api/projects/{project}").get("description") or ""
        if not marker.startswith(_OURS):
            raise UserError(f"project {project} of Label Studio is none of ours; name another")
        return answers(LabelSet.parse(marker.removeprefix(_OURS).strip()))


def _task(item: Mapping[str, Any]) -> dict[str, Any]:
    """The task of an item: what is shown, and how it came to be drawn."""
    shown = {name: clean(item.get(name)) for name in ("title", "review_body")}
    kept = ("queue", "inclusion_probability", "model_version")
    meta = {name: item[name] for name in kept if item.get(name) is not None}
    return {"data": {"item_id": str(item["item_id"]), **shown}, "meta": meta}


def clean(text: Any) -> str:
    """Text as every database takes it: never null, no NUL, no half of a character."""
    whole = str(text or "").replace("\0", "").encode("utf-8", "replace").decode()
    return whole[:_MOST_CHARACTERS]


def _vote(
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    known: Mapping[str, str],
    people: Mapping[int, str],
) -> RawVote:
    by = annotation.get("completed_by")
    number = by.get("id") if isinstance(by, dict) else by
    person = people.get(number) or f"user {number}"
    stored = "" if annotation.get("was_cancelled") else _stored(annotation.get("result"))
    return RawVote(
        item_id=str(task["data"].get("item_id", "")),
        annotation_id=str(annotation.get("unique_id") or annotation["id"]),
        person=person,
        label=known.get(stored, stored),
        updated_at=datetime.fromisoformat(annotation["updated_at"]),
        lead_seconds=annotation.get("lead_time"),
    )


def _stored(result: Any) -> str:
    """The one answer of a vote; whatever else there is, as text."""
    said = [
        choice
        for part in (result if isinstance(result, list) else [])
        if isinstance(part, dict) and part.get("from_name") == CHOICE
        for choice in (part.get("value") or {}).get("choices") or []
    ]
    return str(said[0]) if len(said) == 1 else " + ".join(map(str, said))
