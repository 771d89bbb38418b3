import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deployment.judging import paired_labels
from components.deployment.judging.confidence_sequence import Pairs
from components.deployment.judging.observations import NotObserved
from components.deployment.judging.paired_labels import (
    ModelAddress,
    PairedLabels,
    ask_labelled_reviews,
)

NAMES = ("negative", "neutral", "positive")


class Model:
    """A v2 server that calls a review by the last word of its title and body."""

    def __init__(self, wrong_on: str = "") -> None:
        self.wrong_on = wrong_on
        self.asked: list[str] = []
        self.statuses: list[int] = []
        self.body: bytes | None = None

    @contextmanager
    def listening(self) -> Iterator[ModelAddress]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inputs = {one["name"]: one["data"] for one in content["inputs"]}
                status = model.statuses.pop(0) if model.statuses else 200
                if self.path != "/v2/models/reviews/infer" or self.headers["Host"] != "model.test":
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
            yield ModelAddress(f"127.0.0.1:{server.server_port}", "reviews", {"Host": "model.test"})
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


def test_both_are_asked_the_same_reviews_and_compared_with_the_truth(reviews):
    good, bad = Model(), Model(wrong_on="odd 4")
    with good.listening() as stable, bad.listening() as canary:
        found = ask_labelled_reviews(reviews, stable, canary)
    assert good.asked == bad.asked
    assert sorted(good.asked) == sorted(
        f"number {i} is {NAMES[i % 3]}" for i in range(50) if i != 7
    )
    assert found.stable == found.truth
    wrong = sum(i % 10 == 4 and i % 3 != 1 for i in range(50))
    assert found.pairs == Pairs(both_right=49 - wrong, only_first=wrong, only_second=0, of=49)


def test_parts_asked_one_after_the_other_are_the_whole(reviews):
    model = Model()
    with model.listening() as address:
        whole = ask_labelled_reviews(reviews, address, address)
        parts = PairedLabels()
        for first in (0, 20, 40):
            parts += ask_labelled_reviews(reviews, address, address, first=first, count=20)
        assert parts == whole
        assert ask_labelled_reviews(reviews, address, address, first=60) == PairedLabels()
        other = ask_labelled_reviews(reviews, address, address, count=20, seed=1)
    assert other.truth != whole.truth[:20]


def test_a_full_server_is_asked_again_and_one_that_fails_is_told(reviews, monkeypatch):
    monkeypatch.setattr(paired_labels.time, "sleep", lambda _: None)
    model = Model()
    with model.listening() as address:
        model.statuses = [503, 503]
        assert len(ask_labelled_reviews(reviews, address, address, count=3).truth) == 3
        model.statuses = [503] * 5
        with pytest.raises(NotObserved, match="status 503"):
            ask_labelled_reviews(reviews, address, address, count=3)
        model.statuses = [500]
        with pytest.raises(NotObserved, match="status 500"):
            ask_labelled_reviews(reviews, address, address, count=3)
        for body in (
            b"<html>",
            b"{}",
            b'{"outputs": [{"name": "label", "data": ["good"]}]}',
            b'{"outputs": [3]}',
            b'{"outputs": []}',
        ):
            model.body = body
            with pytest.raises(NotObserved, match=address.url):
                ask_labelled_reviews(reviews, address, address, count=3)
    with pytest.raises(NotObserved, match="ConnectionError"):
        ask_labelled_reviews(reviews, address, address, count=3)


@given(st.lists(st.tuples(*[st.sampled_from(NAMES)] * 3)))
def test_pairs_count_every_review_once(rows):
    columns = tuple(zip(*rows, strict=True)) or ((), (), ())
    pairs = PairedLabels(*columns).pairs
    assert pairs.of == len(rows)
    assert pairs.first.happened == sum(truth == stable for truth, stable, _ in rows)
    assert pairs.second.happened == sum(truth == canary for truth, _, canary in rows)
