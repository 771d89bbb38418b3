"""The one chart engine: matplotlib's SVG, made small and given the page's colours.

matplotlib draws in the light colours of the palette and knows nothing of a page. What it wrote is
read again, and only shapes and texts are kept: colours become CSS variables, so that dark mode and
print work; fonts come from the page's style sheet; there are no ids, which would collide between
the charts of a page, and nothing to load.
"""

import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from markupsafe import Markup

from components.report.formats import readable
from components.report.palette import COLOURS

TEXT_SIZE, TICK_SIZE = 12.5, 11.5
_SETTINGS = {
    "svg.fonttype": "none",  # texts stay texts, in the page's font
    "svg.hashsalt": "0",  # the same chart is the same bytes
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "lines.scale_dashes": False,
    "lines.solid_capstyle": "butt",
    "lines.solid_joinstyle": "round",
}
_KEPT_STYLES = (
    *("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap"),
    *("opacity", "stroke-opacity", "text-anchor"),
)
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}


class Drawing:
    """A chart while it is drawn, on matplotlib's `axes`; a unit is a pixel at its natural size."""

    def __init__(self, width: float, height: float, margins: Sequence[float]) -> None:
        from matplotlib.figure import Figure

        left, right, top, bottom = margins
        self.width, self.height = width, height
        self._figure = Figure((width / 72, height / 72), dpi=72, frameon=False)
        inner = (width - left - right) / width, (height - top - bottom) / height
        self.axes: Any = self._figure.add_axes(
            (left / width, bottom / height, *inner), frameon=False, xmargin=0, ymargin=0
        )
        self.axes.tick_params(length=0, labelsize=TICK_SIZE, labelcolor=ink("soft"), pad=6)
        self._tips: dict[str, Sequence[str]] = {}

    def tips(self, artist: Any, words: Sequence[str]) -> None:
        """Words that a bar, or each marker of a line, shows when pointed at."""
        name = f"tips-{len(self._tips)}"
        artist.set_gid(name)
        self._tips[name] = [readable(one) for one in words]

    def svg(self, title: str, description: str) -> Markup:
        """The chart as an inline `<svg>`; a screen reader reads title and description."""
        written = StringIO()
        self._figure.savefig(written, format="svg", metadata={"Date": None})
        # matplotlib wrote it just now and has escaped every text.
        root = ElementTree.fromstring(readable(written.getvalue()))  # noqa: S314
        radii = {
            f"#{path.get('id')}": path.get("d", "").split()[2]
            for path in root.findall(".//{*}path")
            if path.get("id")
        }
        return Markup(
            '<svg class="chart" viewBox="0 0 {:g} {:g}" role="img"><title>{}</title>'
            "<desc>{}</desc>{}</svg>"
        ).format(
            self.width,
            self.height,
            readable(title),
            readable(description),
            Markup("").join(self._shapes(root, iter(()), radii)),
        )

    def _shapes(
        self, group: ElementTree.Element, tips: Iterator[str], radii: dict[str, str]
    ) -> Iterator[Markup]:
        """Every path, marker and text below a group, flat; markers are circles."""
        for element in group:
            name = element.tag.rpartition("}")[2]
            if name == "g":
                own = self._tips.get(element.get("id", ""))
                yield from self._shapes(element, tips if own is None else iter(own), radii)
            elif name == "path":
                yield Markup('<path d="{}"{}>{}</path>').format(
                    _rounded(element.get("d", "")), _style(element), _tip(tips)
                )
            elif name == "use":
                yield Markup('<circle cx="{}" cy="{}" r="{}"{}>{}</circle>').format(
                    _rounded(element.get("x", "")),
                    _rounded(element.get("y", "")),
                    radii[element.get("{http://www.w3.org/1999/xlink}href", "")],
                    _style(element),
                    _tip(tips),
                )
            elif name == "text":
                yield Markup("<text{}{}>{}</text>").format(
                    _place(element), _style(element), "".join(element.itertext())
                )


@contextmanager
def drawing(width: float, height: float, margins: Sequence[float]) -> Iterator[Drawing]:
    """A chart to draw on, with margins left, right, top and bottom of its axes."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # The reader's fonts have the letters that matplotlib's own lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield Drawing(width, height, margins)


def ink(role: str) -> str:
    """The colour that a role is drawn in, such as `accent`; the page replaces it."""
    return COLOURS[role][0]


def dot(colour: str, size: float = 7) -> dict[str, Any]:
    """How a marker is drawn: filled, with a rim that keeps it apart from others."""
    rim = {"markeredgecolor": ink("card"), "markeredgewidth": 1}
    return {"ls": "none", "marker": "o", "ms": size, "color": ink(colour), **rim}


def _style(element: ElementTree.Element) -> Markup:
    """What is kept of the style, with the palette's variables."""
    given = dict(part.split(": ", 1) for part in element.get("style", "").split("; ") if part)
    kept = {key: _VARIABLES.get(given[key], given[key]) for key in _KEPT_STYLES if key in given}
    return Markup(' style="{}"').format(";".join(f"{key}:{kept[key]}" for key in kept))


def _place(element: ElementTree.Element) -> Markup:
    """Where a text stands, whether on its side, and whether it is small."""
    x, y = (_rounded(element.get(axis, "0")) for axis in "xy")
    turned = element.get("transform", "").startswith("rotate(-90")
    small = f"font-size: {TICK_SIZE:g}px" in element.get("style", "")
    place = ' transform="translate({} {}) rotate(-90)"' if turned else ' x="{}" y="{}"'
    return Markup(place + (' class="tick"' if small else "")).format(x, y)  # noqa: S704


def _tip(tips: Iterator[str]) -> Markup:
    words = next(tips, "")
    return Markup("<title>{}</title>").format(words) if words else Markup("")


def _rounded(numbers: str) -> str:
    """Coordinates with one decimal."""
    short = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}", numbers)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", short.replace(".0", "")).strip()
