import numpy as np
import pytest

from components.monitoring.cells import Cells, cells_of_names
from components.monitoring.wording import TITLES, in_words, percent


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (15, 31, "reviews of Dresses come about twice as often as in training: 31 % against 15 %"),
        (
            10,
            41,
            "reviews of Dresses come about 4 times as often as in training: 41 % against 10 %",
        ),
        (30, 40, "reviews of Dresses come more often than in training: 40 % against 30 %"),
        (0, 20, "reviews of Dresses come now, and never did in training: 20 % against 0 %"),
    ],
)
def test_a_category_is_new_words_what_there_is_more_of(before, now, said):
    def rows(dresses):
        return ["Dresses"] * dresses + ["Tops"] * (100 - dresses)

    assert in_words("product_category", cells_of_names(rows(before), rows(now))) == said


def test_a_label_is_compared_with_the_test_reviews():
    cells = cells_of_names(["bad"] * 20 + ["good"] * 180, ["bad"] * 40 + ["good"] * 160)
    assert in_words("label", cells) == (
        "bad is answered about twice as often as on the test reviews: 20 % against 10 %"
    )


def numbers(now):
    return Cells(("low", "middle", "high"), np.array([10, 980, 10]), np.array(now), (0.1, 0.3))


def test_a_number_is_new_words_the_tail_that_grew():
    said = in_words("unknown_share", numbers([10, 930, 60]))
    assert said == (
        "in 6 % of the reviews more than 30 % of the words are unknown to the model, "
        "against 1 % in training"
    )
    said = in_words("function_word_share", numbers([60, 930, 10]))
    assert said.startswith("in 6 % of the reviews at most 10 % of the words are common English")
    assert "on the test reviews" in in_words("confidence", numbers([60, 930, 10]))


def test_more_than_none_is_some():
    cells = Cells(("none", "some"), np.array([990, 10]), np.array([900, 100]), (0.0,))
    said = in_words("non_ascii_share", cells)
    assert said.startswith("in 10 % of the reviews some of the characters are outside ASCII")


def test_every_number_has_words():
    for name in set(TITLES) - {"texts", "product_category", "label"}:
        assert "{" not in in_words(name, numbers([10, 930, 60]))


def test_shares_have_two_digits():
    assert [percent(x) for x in (0.314, 0.024, 0.0031, 0.0)] == ["31 %", "2.4 %", "0.31 %", "0 %"]
