"""The page on which a review is labelled: text, answers, keys and instructions."""

from html import escape
from typing import Any
from xml.etree import ElementTree

from components.shared.records.labels import LabelSet
from components.shared.records.review_items import CANNOT_TELL, check_answers

CHOICE, TEXT = "sentiment", "text"
"""Names of the page's parts, by which a vote says what it answers."""

_KEYS = "1234567890qwertyuiopa"
"""In the order of the classes; `cannot_tell` has the key after the last class."""

_CANNOT_TELL = "can't tell"


def answers(labels: LabelSet) -> dict[str, str]:
    """What is stored for each answer (the class's value), and the answer: a name or `cannot_tell`.

    Raises:
        UserError: If a class is called `cannot_tell`.
    """
    check_answers(labels)
    stored = {str(value): name for name, value in zip(labels.names, labels.values, strict=True)}
    return stored | {CANNOT_TELL: CANNOT_TELL}


def vote_of(labels: LabelSet, answer: str, seconds: float = 1.0) -> dict[str, Any]:
    """The vote that the page would send for an answer: a class name or `cannot_tell`."""
    stored = next(value for value, name in answers(labels).items() if name == answer)
    part = {"from_name": CHOICE, "to_name": TEXT, "type": "choices"}
    return {"result": [part | {"value": {"choices": [stored]}}], "lead_time": seconds}


def labelling_page(labels: LabelSet) -> str:
    """The page as Label Studio's XML. It shows what the task holds: a title and a text."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$title", size="4")
    ElementTree.SubElement(view, "Text", name=TEXT, value="$review_body")
    how = {"choice": "single", "required": "true", "requiredMessage": "Choose an answer first."}
    choices = ElementTree.SubElement(view, "Choices", name=CHOICE, toName=TEXT, **how)
    for key, (stored, answer) in zip(_KEYS, answers(labels).items(), strict=False):
        shown = _CANNOT_TELL if stored == CANNOT_TELL else answer
        ElementTree.SubElement(choices, "Choice", value=shown, alias=stored, hotkey=key)
    return ElementTree.tostring(view, encoding="unicode")


def instructions(labels: LabelSet) -> str:
    """What a reviewer reads before the first review, as HTML."""
    keys = "".join(
        f"<li><b>{key}</b>: {escape(_CANNOT_TELL if stored == CANNOT_TELL else answer)}</li>"
        for key, (stored, answer) in zip(_KEYS, answers(labels).items(), strict=False)
    )
    return (
        "<p>Read the review and say what its writer thinks of the product as a whole, "
        "from the words alone. Not the delivery, not the shop, not what you would think.</p>"
        f"<ul>{keys}</ul>"
        f"<p>Choose <b>{escape(_CANNOT_TELL)}</b> rather than guess. "
        "A key chooses an answer, <b>Ctrl+Enter</b> stores it and shows the next review. "
        "Words in square brackets, such as [name], took the place of personal data.</p>"
    )


def title_of(labels: LabelSet, name: str = "") -> str:
    """The project's name; Label Studio takes 50 characters."""
    title = f"{name.capitalize() or 'Reviews'}: {', '.join(labels.names)}"
    return title if len(title) <= 50 else f"{title[:49]}…"
