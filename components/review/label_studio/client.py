"""Review items to Label Studio, and votes from it; everything may be repeated without harm.

Label Studio is the record of what was sent. It knows no unique key and takes the same item twice,
so what it holds is listed before anything is sent, one sender at a time.
"""

import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.review.label_studio.connection import Connection, Lost, Refused
from components.review.label_studio.page import answers, instructions, labelling_page, title_of
from components.review.label_studio.process import Service, port_of
from components.review.label_studio.tasks import task_of, vote_in
from components.shared.machine.errors import UserError
from components.shared.machine.files import locked
from components.shared.machine.state import REVIEW_VARIABLE, state_folder
from components.shared.records.labels import LabelSet
from components.shared.records.votes import RawVote

URL, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_TOKEN"
"""Environment variables with the address and token of a service that runs elsewhere."""

logger = logging.getLogger(__name__)

_CHUNK = 500
_LIST_PAGE = 5000
_OURS = re.compile(r"review-sentiment(?:\[(?P<name>[\w-]+)\])?: (?P<labels>.+)")
"""Description of a project of ours, by which it is found again."""


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
            token: Token of an administrator's account: see `Connection`.
            lock: File that senders lock, so that one sends at a time; on a cluster on the volume
                that the steps share.
            **settings: Further ones of `Connection`, such as `patience`.
        """
        self._to = Connection(url, token, **settings)
        self._lock = lock
        self._answers: dict[int, dict[str, str]] = {}

    @property
    def url(self) -> str:
        """Its address."""
        return self._to.url

    @property
    def transport(self) -> Any:
        """How it is reached, where a test said so."""
        return self._to.transport

    def wait(self) -> None:
        """Return once it answers, knowing that it takes the token.

        Raises:
            UserError: If it does not answer in time, or refuses the token.
        """
        self._to.wait()
        self._to.ask("GET", "/api/current-user/whoami")

    def ensure_project(self, labels: LabelSet, people: int = 1, name: str = "") -> int:
        """Id of the project for a label set; made where there is none, as in an empty database.

        Args:
            labels: The classes that reviewers choose from.
            people: How many people are asked about each item.
            name: A word that tells apart projects for the same labels.
        """
        marker = f"review-sentiment{name and f'[{name}]'}: {labels}"
        wanted = {
            "title": title_of(labels, name),
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

    def send(
        self,
        project: int,
        items: Sequence[Mapping[str, Any]],
        votes: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> Sent:
        """Send what the project does not hold yet; goes on after the service was down.

        Args:
            project: Its id.
            items: With `item_id`, `review_body` and, where there are, `title`, `queue` and
                `inclusion_probability`. Nothing else of them leaves: no label of a model.
            votes: By item id, what was voted already, as the API takes annotations.

        Raises:
            UserError: If the service is down for longer than we wait; run again, it goes on.
        """
        wanted = {str(item["item_id"]): item for item in items}
        refused: dict[str, str] = {}
        with self._alone():
            before = self.tasks(project).keys()
            missing: list[dict[str, Any]] | None = None

            def step() -> bool:
                nonlocal missing
                if missing is None:
                    missing = self._missing(project, wanted, refused)
                    for task in missing if votes else ():
                        task["annotations"] = votes.get(task["data"]["item_id"], [])
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
        return set(self.tasks(project))

    def tasks(self, project: int) -> dict[str, int]:
        """The items that the project holds, each with the id of its task."""
        return {item: task for task, item in self._tasks(project)}

    def people(self) -> dict[str, int]:
        """Everyone who has an account, by e-mail address, with the number of it."""
        return {one["email"].strip().lower(): one["id"] for one in self._listed("/api/users")}

    def read_votes(self, project: int) -> list[RawVote]:
        """All votes of a project, oldest first, by class name or `cannot_tell`.

        The service takes anything for a vote, and several of one person. All of it is handed on for
        those who count to judge: an answer that is none as it is stored, an empty one as "".
        """
        known = self._answers.get(project) or self._answers_of(project)
        people = {number: email for email, number in self.people().items()}
        path = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=false"
        votes = [
            vote_in(task, annotation, known, people)
            for task in self._to.ask("GET", path)
            for annotation in task.get("annotations") or []
        ]
        return sorted(votes, key=lambda vote: (vote.updated_at, vote.annotation_id))

    def count(self, item_ids: Collection[str]) -> int:
        """How many items of these ids are in any project of ours."""
        wanted = set(item_ids)
        return sum(
            item in wanted for project in self._projects() for _, item in self._tasks(project["id"])
        )

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
        return [one for one in found if _OURS.fullmatch(one.get("description") or "")]

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
        return [task_of(item) for name, item in wanted.items() if name not in {*there, *refused}]

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
        said = self._to.ask("GET", f"/api/projects/{project}").get("description") or ""
        if (found := _OURS.fullmatch(said)) is None:
            raise UserError(f"project {project} of Label Studio is none of ours; name another")
        return answers(LabelSet.parse(found["labels"]))


def connect(state: Path | None = None, **settings: Any) -> LabelStudio:
    """The client of the service that the environment names, or else of this machine's.

    Args:
        state: The runs' state folder; the one of the environment where None.
        **settings: Further ones of `Connection`, such as `patience`.
    """
    state = state or state_folder()
    lock = Path(os.environ.get(REVIEW_VARIABLE) or state / "review") / "sending.lock"
    if url := os.environ.get(URL):
        return LabelStudio(url, os.environ.get(TOKEN, ""), lock, **settings)
    service = Service(state, port_of(state))
    remedy = f"it is not the one of {state / 'secrets'}: does another folder's service run there?"
    return LabelStudio(service.url, service.token, lock, remedy=remedy, **settings)
