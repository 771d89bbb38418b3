"""Data that lack nearly everything, or hold what nobody expects, from the table to the page."""

import pytest

from components.report.exploration_page import write_exploration_page
from components.shared.records.labels import LabelSet
from tests.data.exploration.conftest import DATED, review
from tests.report.reading import Page

MARKUP = "</p></svg></style><script>alert('x')</script><img src=x onerror=alert(1)>"
TWENTY = LabelSet.parse(" ".join(f"class{number}" for number in range(20)))


@pytest.fixture
def page(explored, tmp_path):
    def read(rows, **options):
        explored(rows, **options)
        write_exploration_page(tmp_path / "summary.json", tmp_path / "page.html")
        made = Page((tmp_path / "page.html").read_text())
        assert not {"nan", "inf", "None", "undefined"} & set(made.text.split())
        return made

    return read


def test_one_row(page):
    page([review(rating=5)]).tells("1 review, 100 % positive", "No text stands in two splits")


def test_two_rows_per_class(page):
    rows = [review(number, number // 2 - 1) for number in range(6)]
    read = page(rows)
    read.tells("6 reviews, 33 % negative", "Words of negative", "none is beyond doubt")


def test_nothing_but_texts_and_classes(page):
    rows = [review(number, (-1, 1)[number % 2]) for number in range(40)]
    read = page(rows)
    read.tells("Never given: title, rating, product category", "Ratings: no review has one")
    read.tells("no review has a category", "the data have no dates")


def test_a_class_that_does_not_occur(page):
    rows = [review(number, 1, product_category="Tops") for number in range(50)]
    page(rows).tells("50 reviews, 100 % positive", "Words of negative", "none is beyond doubt")


def test_texts_in_other_languages_and_marks_alone(page):
    texts = ["裙子很好看,质量也不错", "ткань мягкая", "قماش ناعم", "❤❤❤", "!!!", "שמלה יפה"] * 20
    rows = [
        review(number, (-1, 0, 1)[number % 3], review_body=f"{text} {number}", title="裙子")
        for number, text in enumerate(texts)
    ]
    page(rows).tells("120 reviews", "83 % of the texts hold", "words are counted wrong")


def test_markup_everywhere(page):
    rows = [
        review(
            number,
            (-1, 1)[number % 2],
            **dict.fromkeys(("title", "product_category", "division", "department"), MARKUP),
            review_body=f"{MARKUP} {('good', 'bad')[number % 2]} " + " ".join("abcdefgh" * 20),
            split=("train", "test")[number // 2 % 2],
        )
        for number in range(60)
    ]
    read = page(rows)
    assert "<script>alert" in read.text
    read.tells("2 texts stand in two splits")


def test_ten_thousand_categories(page):
    rows = [review(number, product_category=f"category {number}") for number in range(10_000)]
    page(rows, sample_rows=100).tells("none of 10,000 categories has 20 reviews")


def test_all_dates_are_equal(page):
    page([review(number, event_timestamp=DATED) for number in range(5)]).tells(
        "all dates are equal (2024-03-01)"
    )


def test_a_text_of_a_hundred_thousand_characters(page):
    page([review(1, review_body="long " * 19_999 + "long"), review(2, -1)]).tells("longest 20,000")


def test_twenty_classes(page):
    rows = [
        review(number, number % 20, review_body=f"word{number % 20} stands here", rating=None)
        for number in range(400)
    ]
    page(rows, labels=TWENTY).tells("400 reviews, 5 % class0", "class19")
