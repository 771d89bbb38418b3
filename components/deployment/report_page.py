"""A report page: a verdict, figures, sections; and how rates and differences are written on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.deployment.judging.confidence_sequence import Count


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        heading: Its title.
        told: What there is to see, in a sentence; may be empty.
        body: Its content, already HTML.
    """

    heading: str
    told: str
    body: Markup


@dataclass(frozen=True)
class Page:
    """A report page before it is HTML.

    Attributes:
        state: `good`, `stopped` or `waiting`: the colour of the verdict.
        title: The verdict.
        eyebrow: What the page is about.
        lead: The reason, in a sentence.
        tiles: (name, value, note) of the figures at the top.
        sections: The parts.
        footer: Lines at the end.
    """

    state: str
    title: str
    eyebrow: str
    lead: str
    tiles: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    footer: Sequence[str]

    def render(self) -> str:
        """As one HTML file that needs nothing else; all texts are escaped."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        return environment.get_template("report_page.html").render(page=self)


def rate_cell(count: Count) -> Markup:
    """A rate in percent above the counts that it is made of."""
    return Markup("{}<small>{:,} of {:,}</small>").format(percent(count), *count)


def percent(count: Count) -> str:
    """A rate in percent."""
    return "none" if count.rate is None else f"{100 * count.rate:.1f} %"


def points(value: float | None) -> str:
    """A difference in percentage points, with its sign."""
    if value is None:
        return "unknown"
    rounded = round(100 * value, 1)
    return "0" if rounded == 0 else f"{rounded:+g}".replace("-", "\u2212")
