import pytest

from components.report.explanation_page import coloured, write_answer_page, write_explanation_page
from components.shared.records.explanation import OCCLUSION
from tests.report.reading import Page

SCRIPT = "<script>alert(1)</script>"
WORDS = [("lovely", 0.5), (SCRIPT, -0.25), ("the", 0.001)]


def answer(label="positive", words=WORDS, **more):
    told = [{"word": word, "attribution": added} for word, added in words]
    chances = {"negative": 0.1, "positive": 0.9}
    return {
        **{"review_id": "r1", "truth": "negative", "label": label, "probabilities": chances},
        **{"words": told, "unread": "", "completeness_error": 0.004, "difference": 0.25, **more},
    }


def estimate(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def summary(value=0.3, **more):
    point = {"share": 0.05, "drop": estimate(0.2), "random": estimate(0.02)}
    word = {"word": SCRIPT, "mean": -0.2, "count": 7, "reviews": 3}
    return {
        **{"classes": ["negative", "positive"], "explained": 36, "asked": 300},
        **{"completeness_error": 0.004, "largest_completeness_error": 0.04},
        "deletion": {**estimate(value), "random": 0.05, "reviews": 35, "curve": [point]},
        "important_words": [
            {"name": "negative", "reviews": 18, "words": [word]},
            {"name": "positive", "reviews": 0, "words": []},
        ],
        **{"right": [answer(truth="positive")], "mistakes": [answer()], **more},
    }


def test_it_shows_the_proof_single_answers_and_words(page_of):
    page = page_of(write_explanation_page, summary())
    page.tells("The words that are named matter", "falls by 0.300", "by chance, by 0.050")
    page.tells("0.4", "median; at most 4.0", "The proof", "5", "0.200", "0.150 to 0.250", "0.020")
    page.tells("The surest mistakes", "positive 90.0", "labelled negative, which got 10.0")
    page.tells("Right answers", "Words by class", "negative", "18 reviews", "Too few reviews")
    assert page.text.count(SCRIPT) >= 4
    assert len(page.charts) == 2


@pytest.mark.parametrize("value", [0.09, 0.04, -0.2])
def test_explanations_no_better_than_chance_are_called_so(page_of, value):
    page = page_of(write_explanation_page, summary(value))
    assert "The explanations prove nothing" in page.text


def test_what_there_is_none_of_is_said(page_of):
    deletion = {**dict.fromkeys(("value", "low", "high", "random")), "reviews": 0, "curve": []}
    page = page_of(
        write_explanation_page, summary(deletion=deletion, right=[], mistakes=[answer(words=[])])
    )
    page.tells("could not be tested", "no review had words enough", "none of the explained ones")
    assert "nan" not in page.text.casefold()
    assert "None" not in page.text


def test_a_word_is_as_strong_as_what_it_adds_beside_the_strongest():
    shown = coloured(answer())["shown"]
    assert [(side, strength) for _, side, strength, *_ in shown] == [
        *(("for", 1.0), ("against", 0.5), ("", 0.0)),
    ]
    still = coloured(answer(words=[("a", 0.0)]))["shown"]
    assert [side for _, side, *_ in still] == [""]


def test_it_says_how_the_numbers_were_found(page_of):
    walked = page_of(write_explanation_page, summary(method="integrated gradients"))
    assert "Sundararajan" in walked.text
    left_out = page_of(write_explanation_page, summary(method=OCCLUSION))
    assert "of the review without the word" in left_out.text
    assert "Sundararajan" not in left_out.text


def test_a_single_answer_has_a_page_too(tmp_path):
    write_answer_page(answer(unread="and so on"), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    page.tells("positive", "90.0", "What each word adds", "lovely", SCRIPT, "the", "and so on")
    page.tells("not read", "lovely +0.500", "an empty one: +0.250", "miss it by 0.4", "negative")
    (style,) = {
        one["style"] for one in page.attributes("span") if one.get("class") == "against"
    } - {"--v:1"}
    assert style == "--v:0.5"


def test_words_without_spaces_between_them_stay_together(tmp_path):
    words = [{"word": "很", "attribution": 0.1}, {"word": "好", "attribution": 0.2, "joined": True}]
    write_answer_page(answer() | {"words": words}, tmp_path / "page.html")
    assert "</span><span" in (tmp_path / "page.html").read_text()
