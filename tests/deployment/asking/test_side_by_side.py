import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.deployment.asking.labelled import SideBySide
from tests.stand_ins.api_server import Time

NAMES = ("negative", "neutral", "positive")


class Model:
    """A v2 server that calls a review by the last word of its title and body."""

    def __init__(self, wrong_on: str = "") -> None:
        self.wrong_on = wrong_on
        self.asked: list[str] = []
        self.statuses: list[int] = []
        self.body: bytes | None = None

    @contextmanager
    def listening(self) -> Iterator[str]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inputs = {one["name"]: one["data"] for one in content["inputs"]}
                status = model.statuses.pop(0) if model.statuses else 200
                if self.path != "/v2/models/reviews/infer":
                    status = 404
                labels = []
                for title, text in zip(inputs.get("title", [""]), inputs["text"], strict=True):
                    word = text.split()[-1]
                    labels.append("neutral" if model.wrong_on and model.wrong_on in title else word)
                if status == 200:
                    model.asked += inputs["text"]
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.end_headers()
                outputs = [{"name": "label_id", "data": [0]}, {"name": "label", "data": labels}]
                self.wfile.write(model.body or json.dumps({"outputs": outputs}).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


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


def asker(reviews, stable, canary, count=512):
    time = Time()
    addresses = {"1": [stable, "http://another"], "2": [canary], "3": []}
    made = SideBySide(
        reviews, "reviews", count, lambda: addresses, sleep=time.sleep, clock=time.clock
    )
    return made, time


def test_both_are_asked_the_same_reviews_once_and_compared_with_the_truth(reviews):
    good, bad = Model(), Model(wrong_on="odd 4")
    with good.listening() as stable, bad.listening() as canary:
        ask, _ = asker(reviews, stable, canary)
        right, unasked = ask("1", "2")
        assert ask("1", "2") == (right, "")
    assert good.asked == bad.asked
    assert sorted(good.asked) == sorted(
        f"number {i} is {NAMES[i % 3]}" for i in range(50) if i != 7
    )
    wrong = sum(i % 10 == 4 and i % 3 != 1 for i in range(50))
    assert (len(right), unasked) == (49, "")
    assert right.count((True, False)) == wrong
    assert right.count((True, True)) == 49 - wrong


def test_no_more_are_asked_than_wanted_and_none_without_addresses(reviews):
    model = Model()
    with model.listening() as address:
        assert len(asker(reviews, address, address, count=20)[0]("1", "2")[0]) == 20
        assert len(model.asked) == 40
        assert asker(reviews, address, address, count=0)[0]("1", "2") == ([], "")
        for versions in (("1", "3"), ("4", "2")):
            assert asker(reviews, address, address)[0](*versions) == ([], "")
    assert len(model.asked) == 40


def test_a_slow_version_is_asked_for_a_while_only(reviews):
    model = Model()
    with model.listening() as address:
        ask, time = asker(reviews, address, address)
        ask.clock = lambda: time.now + 2.0 * len(model.asked)
        right, _ = ask("1", "2")
        assert len(right) == 8
        assert ask("1", "2") == (right, "")


def test_a_full_server_is_asked_again_when_it_says(reviews):
    model = Model()
    with model.listening() as address:
        model.statuses = [503, 503]
        ask, time = asker(reviews, address, address, count=3)
        assert len(ask("1", "2")[0]) == 3
        assert time.slept == [0.1, 0.1]


@pytest.mark.parametrize(
    ("statuses", "body", "words"),
    [
        ([503] * 5, None, "status 503"),
        ([500], None, "status 500"),
        ([], b"<html>", "names no class"),
        ([], b"{}", "names no class"),
        ([], b'{"outputs": [{"name": "label", "data": ["good"]}]}', "names no class"),
    ],
)
def test_a_server_that_gives_no_label_is_named_and_asked_again_where_it_broke_off(
    reviews, statuses, body, words
):
    model = Model()
    with model.listening() as address:
        ask, _ = asker(reviews, address, address, count=9)
        model.statuses = [200] * 6 + statuses
        model.body = body if not statuses else None
        right, unasked = ask("1", "2")
        assert right == []
        assert words in unasked
        assert address in unasked
        model.body, asked = None, len(model.asked)
        right, unasked = ask("1", "2")
        assert (len(right), unasked) == (9, "")
        assert asked == (6 if statuses else 1)


def test_a_server_that_is_down_is_said(reviews):
    ask, _ = asker(reviews, "http://127.0.0.1:9", "http://127.0.0.1:9")
    right, unasked = ask("1", "2")
    assert right == []
    assert "ConnectError" in unasked
