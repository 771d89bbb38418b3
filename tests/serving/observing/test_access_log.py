import json
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from components.serving.observing.access_log import AccessLog, RequestRecord
from tests.serving.conftest import Stream


def finished(**changes):
    values = {"path": "/v2/models/reviews/infer", "seconds": 0.0123, "queue_seconds": 0.004}
    about = {"client": None, "started_at": 1_700_000_000.25, "status": 200}
    return RequestRecord("id-1", "POST", **(values | about | changes))


def test_a_line_says_when_and_how_long():
    stream = Stream()
    log = AccessLog("7", stream)
    log.write(finished(reviews=2))
    log.close()
    (line,) = stream.lines()
    assert line["time"] == "2023-11-14T22:13:20.250+00:00"
    assert (line["ms"], line["queue_ms"], line["reviews"]) == (12.3, 4.0, 2)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_path_is_one_line_of_json(path):
    stream = Stream()
    log = AccessLog("7", stream, flush_seconds=0.0)
    request = finished(path=path + "\n\ud800" + "x" * 256)
    log.write(request)
    log.close()
    assert stream.getvalue().count(b"\n") == 1
    (line,) = stream.lines()
    assert line["path"] == request.path[:256]


class Hooked(Stream):
    """A stream that calls a function before it writes."""

    def __init__(self, before):
        super().__init__()
        self.before = before

    def write(self, content):
        self.before()
        return super().write(content)


def test_a_slow_stream_costs_lines_but_no_time():
    entered, may_go_on = threading.Event(), threading.Event()
    stream = Hooked(lambda: entered.set() or may_go_on.wait(10))
    log = AccessLog("7", stream, max_pending=3, flush_seconds=0.0)
    log.write(finished())
    assert entered.wait(10)
    for _ in range(10):
        log.write(finished())
    may_go_on.set()
    log.close(timeout=10)
    lines = stream.lines()
    assert sum("status" in line for line in lines) == 4
    assert sum(line.get("lines_dropped", 0) for line in lines) == 7


def test_a_broken_stream_is_reported_once_and_stops_nothing(caplog):
    def broken():
        tried.release()
        raise BrokenPipeError("gone")

    tried = threading.Semaphore(0)
    log = AccessLog("7", Hooked(broken), flush_seconds=0.0)
    for _ in range(3):
        log.write(finished())
        assert tried.acquire(timeout=10)
    log.close()
    assert caplog.messages == ["the access log cannot be written: gone"]


def test_standard_output_is_the_default(capfdbinary):
    log = AccessLog("7")
    log.write(finished())
    log.close()
    assert json.loads(capfdbinary.readouterr().out)["request_id"] == "id-1"
