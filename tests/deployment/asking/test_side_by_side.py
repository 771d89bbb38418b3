import json
from collections import Counter
from functools import partial

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.deployment.asking.labelled import SideBySide
from tests.stand_ins.api_server import Time

NAMES = ("negative", "neutral", "positive")


class Models:
    """v2 servers that call a review by the last word of its body, whatever its title."""

    def __init__(self):
        self.asked, self.statuses, self.body, self.down = [], [], None, False

    def answer(self, request):
        if self.down:
            raise httpx.ConnectError("refused")
        assert request.url.path == "/v2/models/reviews/infer"
        inputs = {one["name"]: one["data"][0] for one in json.loads(request.content)["inputs"]}
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.asked.append((request.url.host, inputs["text"]))
        wrong = request.url.host == "bad" and "odd 4" in inputs.get("title", "")
        label = "neutral" if wrong else inputs["text"].split()[-1]
        outputs = [{"name": "label_id", "data": [0]}, {"name": "label", "data": [label]}]
        content = self.body or json.dumps({"outputs": outputs}).encode()
        return httpx.Response(status, content=content, headers={"Retry-After": "0"})

    def asked_of(self, host):
        return sorted(text for asked, text in self.asked if asked == host)


@pytest.fixture
def models(monkeypatch):
    made = Models()
    transport = httpx.MockTransport(made.answer)
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=transport))
    return made


@pytest.fixture
def reviews(tmp_path):
    rows = [
        {
            "review_body": f"number {i} is {NAMES[i % 3]}",
            "title": None if i % 2 else f"odd {i % 5}",
            "sentiment": i % 3 - 1 if i != 7 else None,
            "other": i,
        }
        for i in range(50)
    ]
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def asker(reviews, count=512):
    time = Time()
    addresses = {"1": ["http://good", "http://another"], "2": ["http://bad"], "3": []}
    given = reviews, "reviews", count, lambda: addresses
    return SideBySide(*given, sleep=time.sleep, clock=time.clock), time


def test_both_are_asked_the_same_reviews_once_and_compared_with_the_truth(reviews, models):
    ask, _ = asker(reviews)
    right, unasked = ask("1", "2")
    assert ask("1", "2") == (right, "")
    every = sorted(f"number {i} is {NAMES[i % 3]}" for i in range(50) if i != 7)
    assert models.asked_of("good") == models.asked_of("bad") == every
    wrong = sum(i % 10 == 4 and i % 3 != 1 for i in range(50))
    assert unasked == ""
    assert Counter(right) == {(True, False): wrong, (True, True): 49 - wrong}


def test_no_more_are_asked_than_wanted_and_none_without_addresses(reviews, models):
    assert len(asker(reviews, count=20)[0]("1", "2")[0]) == 20
    assert asker(reviews, count=0)[0]("1", "2") == ([], "")
    for versions in (("1", "3"), ("4", "2")):
        assert asker(reviews)[0](*versions) == ([], "")
    assert len(models.asked) == 40


def test_a_slow_version_is_asked_for_a_while_only(reviews, models):
    ask, time = asker(reviews)
    ask.clock = lambda: time.now + 2.0 * len(models.asked)
    right, _ = ask("1", "2")
    assert len(right) == 8
    assert ask("1", "2") == (right, "")


def test_a_full_server_is_asked_again_when_it_says(reviews, models):
    models.statuses = [503, 503]
    ask, time = asker(reviews, count=3)
    assert len(ask("1", "2")[0]) == 3
    assert time.slept == [0.1, 0.1]


@pytest.mark.parametrize(
    ("statuses", "body", "words"),
    [
        ([], None, "ConnectError"),
        ([503] * 5, None, "status 503"),
        ([500], None, "status 500"),
        ([], b"<html>", "names no class"),
        ([], b"{}", "names no class"),
        ([], b'{"outputs": [{"name": "label", "data": ["good"]}]}', "names no class"),
    ],
)
def test_a_server_that_gives_no_label_is_named_and_asked_again_where_it_broke_off(
    reviews, models, statuses, body, words
):
    ask, _ = asker(reviews, count=9)
    models.statuses, models.body = [200] * 6 + statuses, body
    models.down = words == "ConnectError"
    right, unasked = ask("1", "2")
    assert (right, words in unasked, "http://good/v2" in unasked) == ([], True, True)
    asked = len(models.asked)
    models.body, models.down = None, False
    right, unasked = ask("1", "2")
    assert (len(right), unasked) == (9, "")
    assert len(models.asked) == asked + 18 - (6 if statuses else 0)
