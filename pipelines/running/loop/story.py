"""The story of a loop: what happened, when, and how it ended, written down by chapters."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.machine.files import read_json, write_json


@dataclass(frozen=True)
class Chapter:
    """One thing that happened.

    Attributes:
        name: Key, such as `traffic`.
        title: Heading.
        sentence: What came of it.
        figures: Numbers by name, for the page.
        page: Path of a page that tells more, relative to the story's folder; '' for none.
        started: When it began, ISO 8601; it may have been killed and begun again.
        ended: When it was done.
    """

    name: str
    title: str
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)
    page: str = ""
    started: str = ""
    ended: str = ""


class Story:
    """The chapters so far, in a JSON file; what is in it is not done again."""

    def __init__(self, file: Path, given: dict[str, Any]) -> None:
        """Open the story, or begin one, of a loop with these parameters.

        Raises:
            UserError: If the file is damaged.
        """
        self._file = file
        content = read_json(file) if file.exists() else {"given": given, "chapters": []}
        self.given: dict[str, Any] = content["given"]
        self._begun: dict[str, str] = content.get("begun", {})
        self.chapters = [Chapter(**one) for one in content["chapters"]]

    def chapter(self, name: str) -> Chapter | None:
        """A chapter that is told; None where it did not come to that."""
        return next((one for one in self.chapters if one.name == name), None)

    def tell(self, name: str, title: str, happen: Callable[[], Chapter]) -> Chapter:
        """Let something happen and write down what came of it; at once where it happened before."""
        told = self.chapter(name)
        if told is not None:
            print(f"▸ {title}: done before. {told.sentence}", flush=True)
            return told
        print(f"▸ {title}", flush=True)
        self._begun.setdefault(name, _now())
        self._write()
        done = happen()
        made = Chapter(
            name, title, done.sentence, done.figures, done.page, self._begun[name], _now()
        )
        self.chapters.append(made)
        self._write()
        print(f"  {made.sentence}", flush=True)
        return made

    def _write(self) -> None:
        content = {"given": self.given, "begun": self._begun}
        write_json(self._file, content | {"chapters": [asdict(one) for one in self.chapters]})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
