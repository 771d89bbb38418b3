"""The pages that the steps of a run wrote, where a browser opens them and the report links them."""

import html
import re
import shutil
from pathlib import Path

from pipelines.running.local import Run

FOLDER = "pages"

_DOCTYPE = b"<!doctype html"
_TITLE = re.compile(rb"<title>(.*?)</title>", re.S | re.I)
_HEAD_BYTES = 4096


def collect_pages(run: Run) -> list[tuple[str, str, str]]:
    """Copy each HTML artifact of a run to `pages/STEP.html` in its folder.

    Whatever step wrote it, one's own too, in the order in which the steps ran. The report's own
    artifact is left out, which says less than the report of the run.

    Returns:
        Step, title and relative address of each page.
    """
    pages: list[tuple[str, str, str]] = []
    for step in run.seconds:
        artifacts = sorted((run.folder / step).glob("*")) if step != "compose-report" else []
        titles = {artifact: title for artifact in artifacts if (title := _title(artifact))}
        for artifact, title in titles.items():
            name = f"{step}.html" if len(titles) == 1 else f"{step}-{artifact.name}.html"
            (run.folder / FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(artifact, run.folder / FOLDER / name)
            pages.append((step, title, f"{FOLDER}/{name}"))
    return pages


def _title(artifact: Path) -> str:
    """The title of an HTML file; empty for any other file."""
    if not artifact.is_file():
        return ""
    with artifact.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.lstrip().lower().startswith(_DOCTYPE):
        return ""
    found = _TITLE.search(head)
    title = html.unescape(found[1].decode(errors="replace")) if found else ""
    return title.removesuffix(" · review sentiment").strip() or artifact.name.replace("_", " ")
