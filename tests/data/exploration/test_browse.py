import logging
import re

import pytest

from components.data.exploration.browse import browse
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from tests.data.exploration.conftest import review

MARKUP = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"
LARGEST = 3_000_000


@pytest.fixture
def table_page(prepared, tmp_path):
    def write(rows, labels=SENTIMENTS, **options):
        shown = browse(prepared(rows, labels), tmp_path / "table.html", **options)
        html = (tmp_path / "table.html").read_text()
        assert len(html) < LARGEST
        assert not re.search(
            r"""(src|srcset|data)\s*=\s*["']?https?:|@import|url\(["']?http""", html
        )
        assert not re.search("<link[^>]+href", html)
        return shown, html

    return write


def test_markup_of_a_review_stays_text(table_page):
    rows = [review(n, review_body=f"{n} {MARKUP}", product_category=MARKUP) for n in range(20)]
    rows.append(review(20, title=MARKUP, product_category="</style><svg onload=alert(1)>"))
    _, html = table_page(rows)
    assert "alert(" in html
    assert not re.search(r"<(script|img|svg)[^>]*>?\s*alert|<img src=x|<svg onload", html)


def test_of_many_reviews_a_sample_is_shown_and_said(table_page):
    rows = [review(number) for number in range(40)]
    shown, html = table_page(rows, most_rows=30)
    assert shown == 30
    assert "A random sample of 30 of 40 prepared reviews" in html
    assert "random sample" not in table_page(rows)[1]


@pytest.mark.parametrize(
    "rows",
    [
        [review()],
        [review(1, -1), review(2, 1, age=30, product_category="裙子", title="Отлично")],
        [review(n, product_category=f"c{n}", review_body="long " * 20_000) for n in range(70)],
    ],
    ids=["one row", "columns nearly all missing, other scripts", "long texts, many categories"],
)
def test_poor_data_have_a_page_too(table_page, rows, caplog):
    with caplog.at_level(logging.INFO):
        shown, html = table_page(rows)
    assert shown == len(rows)
    assert ">nan<" not in html.lower()
    assert not [each for each in caplog.records if each.name.startswith("matplotlib")]


def test_classes_are_named(table_page):
    _, html = table_page([review(n, n % 2) for n in range(4)], LabelSet.parse("bad good"))
    assert "good" in html


def test_no_rows_are_refused(prepared, tmp_path):
    with pytest.raises(UserError, match="no rows"):
        browse(prepared([]), tmp_path / "table.html")
    assert not (tmp_path / "table.html").exists()
