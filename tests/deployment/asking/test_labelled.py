import httpx
import pyarrow as pa
import pytest

from components.deployment.asking.labelled import (
    Answer,
    LabelledReview,
    asker_of,
    check_answers,
    read_labelled_reviews,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_parquet
from components.shared.records.reviews import REVIEW_SCHEMA

REVIEWS = [LabelledReview(None, f"body {number}", "positive") for number in range(12)]


def test_each_review_is_asked_once_faults_are_answers_and_lost_ones_are_not(stub_url):
    # The stub gives no label, which is a wrong one.
    for fault, status in (("", 200), ("500", 500)):
        answers = asker_of(stub_url(fault=fault), "m")(REVIEWS, 0.1)
        assert answers == [Answer("what it says itself", status, False)] * len(REVIEWS)
    assert asker_of("http://127.0.0.1:9", "m")(REVIEWS, 0.1) == []


@pytest.mark.parametrize("right", [True, False])
def test_labels_are_compared_with_peoples_own(monkeypatch, right):
    label, ids = "positive" if right else "neutral", []

    def answer(request):
        ids.append(request.headers["X-Request-Id"])
        output = {"name": "label", "data": [label]}
        version = {"name": "model_version", "data": ["4"]}
        return httpx.Response(200 if len(ids) % 2 else 503, json={"outputs": [output, version]})

    transport, client = httpx.MockTransport(answer), httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_: client(transport=transport))
    ask = asker_of("http://reviews", "m")
    assert ask(REVIEWS[:2], 0.0) == [Answer("4", 200, right), Answer("4", 503, False)]
    ask(REVIEWS[:2], 0.0)
    assert len(set(ids)) == 4, "the same ids would be split the same way"


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
    check_answers(lambda *_: [Answer("4", 200, False)], REVIEWS[0], ["3", "4"], "http://x")


def test_labelled_reviews_are_read_shuffled_and_those_without_a_label_left_out(tmp_path):
    fields = [REVIEW_SCHEMA.field(name) for name in ("review_body", "title")]
    schema = pa.schema([*fields, pa.field("sentiment", pa.int32())])
    rows = [{"review_body": f"{n}", "sentiment": None if n == 5 else -1} for n in range(40)]
    path = tmp_path / "labelled.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, schema=schema))
    found = read_labelled_reviews(path)
    assert {review.body for review in found} == {str(n) for n in range(40)} - {"5"}
    assert {review.label for review in found} == {"negative"}
    assert [review.body for review in found[:10]] != [str(n) for n in range(10)]
    assert found == read_labelled_reviews(path) != read_labelled_reviews(path, seed=1)
