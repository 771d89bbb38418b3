import pytest

from components.deployment.asking.labelled_reviews import LabelledReview
from components.deployment.asking.labelled_traffic import Answer, asker_of, check_answers
from components.shared.machine.errors import UserError

REVIEWS = [LabelledReview(None, f"body {number}", "positive") for number in range(12)]


@pytest.fixture
def server(start_stub):
    """Starts a stub of the model server; its URL."""
    return lambda fault="": f"http://127.0.0.1:{start_stub(fault=fault)}"


def test_each_review_is_asked_once_and_its_answer_names_the_version(server):
    answers = asker_of(server(), "m")(REVIEWS, 0.1)
    assert len(answers) == len(REVIEWS)
    # The stub gives no label, which is a wrong one.
    assert set(answers) == {Answer("what it says itself", 200, False)}


def test_faults_are_answers_and_lost_ones_are_not(server):
    faulty = asker_of(server("500"), "m")(REVIEWS, 0.1)
    assert [answer.status for answer in faulty] == [500] * len(REVIEWS)
    assert not any(answer.right for answer in faulty)
    assert asker_of("http://127.0.0.1:9", "m")(REVIEWS, 0.1) == []


@pytest.mark.parametrize("right", [True, False])
def test_labels_are_compared_with_peoples_own(monkeypatch, right):
    from components.deployment.asking import labelled_traffic as subject

    label = "positive" if right else "neutral"
    body = f'{{"outputs": [{{"name": "label", "data": ["{label}"]}}]}}'.encode()
    ids = []

    async def replay(url, reviews, rate, *, answered, seed, once, **_):
        assert once
        ids.append(seed)
        for number in range(len(reviews)):
            answered(number, "4", 200, body)
        answered(0, "4", 503, body)

    monkeypatch.setattr(subject, "replay", replay)
    ask = asker_of("http://reviews", "m")
    answers = ask(REVIEWS[:2], 1.0)
    assert answers == [Answer("4", 200, right)] * 2 + [Answer("4", 503, False)]
    ask(REVIEWS[:2], 1.0)
    assert len(set(ids)) == 2, "the same ids would be split the same way"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "nothing answers at http://x"),
        ([Answer("3", 404, False)], "with status 404"),
        ([Answer("9", 200, True)], "by version 9, not by version 3 or 4"),
        ([Answer("", 200, True)], "by a server that names no version"),
    ],
)
def test_what_gives_no_usable_answers_is_told_before_the_test(answers, words):
    with pytest.raises(UserError, match=words):
        check_answers(lambda *_: answers, REVIEWS[0], ["3", "4"], "http://x")


def test_a_usable_answer_is_enough():
    check_answers(lambda *_: [Answer("4", 200, False)], REVIEWS[0], ["3", "4"], "http://x")
