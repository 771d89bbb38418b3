"""Label Studio's tasks and annotations, from review items and to votes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from components.review.label_studio.page import CHOICE
from components.shared.records.votes import RawVote

_MOST_CHARACTERS = 20_000


def task_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """The task of an item: what is shown, and how it came to be drawn."""
    shown = {name: clean(item.get(name)) for name in ("title", "review_body")}
    kept = ("queue", "inclusion_probability", "model_version")
    meta = {name: item[name] for name in kept if item.get(name) is not None}
    return {"data": {"item_id": str(item["item_id"]), **shown}, "meta": meta}


def clean(text: Any) -> str:
    """Text as every database takes it: never null, no NUL, no half of a character."""
    whole = str(text or "").replace("\0", "").encode("utf-8", "replace").decode()
    return whole[:_MOST_CHARACTERS]


def vote_in(
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    known: Mapping[str, str],
    people: Mapping[int, str],
) -> RawVote:
    """The vote that an annotation of a task stands for.

    Args:
        task: As it is exported.
        annotation: One of its annotations.
        known: Answer by what is stored for it; what is none of these is handed on as it is.
        people: E-mail address by number of the account.
    """
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
