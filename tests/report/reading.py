"""A page as its reader has it: checked for what every page has to be, and its words."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "hr"}
LARGEST_PAGE = 300_000


class Page(HTMLParser):
    """Tags, attributes and text of a page that nests, loads nothing and runs nothing."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        assert len(html.encode()) < LARGEST_PAGE
        assert not re.search(r"url\(|@import|https?:", html)
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", html)
        for tag, attributes in self.tags:
            assert tag not in ("script", "link", "iframe", "object", "embed", "img", "base")
            assert not {"src", "onload", "onerror", "onclick"} & set(attributes)
            assert attributes.get("href", "#").startswith(("#", "pages/"))
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert all(header.get("scope") for header in self.attributes("th"))
        assert self.attributes("html") == [{"lang": "en"}]
        self.charts = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html)]
        for chart in self.charts:
            check_chart(chart)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def tells(self, *words: str) -> None:
        """Has these words in this order."""
        place = 0
        for one in words:
            assert one in self.text[place:], (
                f"{one!r} does not come after {self.text[:place][-90:]}"
            )
            place = self.text.index(one, place)

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def check_chart(chart: ElementTree.Element) -> None:
    """It has words for a screen reader, only the page's colours, and only finite numbers."""
    assert chart.get("role") == "img"
    assert all(chart.findtext(name) for name in ("title", "desc"))
    for element in chart.iter():
        assert element.tag in ("svg", "title", "desc", "path", "circle", "text")
        assert "#" not in element.get("style", "")
        numbers = " ".join(element.get(name, "") for name in ("d", "x", "y", "cx", "cy", "r"))
        assert not re.search("nan|inf", numbers)


def places(chart: ElementTree.Element, role: str) -> list[list[tuple[float, float]]]:
    """The points of each path and circle that is drawn in a role's colour."""
    found = []
    for element in chart.iter():
        where = element.get("d") or f"{element.get('cx')} {element.get('cy')}"
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", where)]
        if numbers and f"var(--{role})" in element.get("style", ""):
            found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return found
