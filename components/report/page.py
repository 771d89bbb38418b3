"""A page: one headline, one template, one style, whatever it reports on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.machine.files import read_json, replaced_when_whole

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Headline:
    """What a reader wants first: verdict and reason; `state` is good, waiting, stopped or empty."""

    state: str
    title: str
    sentence: str


def write_page(template: str, output: str | Path, headline: Headline, **content: Any) -> None:
    """Write a page as one HTML file that needs nothing beside it; every text is escaped.

    Args:
        template: File beside this one that extends `page.html`. What it asks for and does not get
            becomes a dash.
        output: HTML file to write, whole or not at all.
        headline: What stands at the top.
        content: What else the template reads.
    """
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader
    from markupsafe import Markup

    from components.report.formats import FILTERS
    from components.report.palette import css_variables

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    style = css_variables() + (_HERE / "style.css").read_text(encoding="utf-8")
    page = environment.get_template(template).render(
        headline=headline,
        style=Markup(style),  # noqa: S704 - our own
        **content,
    )
    with replaced_when_whole(output) as draft:
        draft.write_text(page, encoding="utf-8")


def read_if_there(path: str | Path | None) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none."""
    content = read_json(path) if path is not None and Path(path).is_file() else {}
    return content if isinstance(content, Mapping) else {}
