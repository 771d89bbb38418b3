import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from itertools import islice, pairwise

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kstest

from components.deployment.local.traffic import (
    Load,
    TrafficCount,
    background_traffic,
    read_reviews,
    replay,
)
from components.shared.machine.errors import UserError
from tests.deployment.conftest import until

REVIEWS = [(None, "lovely"), ("Title", "it's awful \U0001f600")]


def sent_to(url, seconds=0.3, rate=100.0, **options):
    """What is due within so many seconds, sent to its end however slow the machine."""
    count, load = TrafficCount(), Load(url, REVIEWS, rate, seconds, **options)
    asyncio.run(replay(load, count, threading.Event()))
    return count


def test_every_answer_is_counted_by_version_and_status(stub_url):
    count = sent_to(stub_url())
    assert count.sent == count.answered > 5
    # The stub says of itself what the splitter would say for it.
    assert set(count.answers) == {("what it says itself", 200)}
    assert count.failed == 0
    counts = count.to_dict()
    assert counts["lost"] == {}
    (latency,) = counts["latency_ms"].values()
    assert 0 < latency["p50"] <= latency["p99"]


def test_what_is_not_answered_well_is_counted_and_gives_no_latency(stub_url):
    errors = sent_to(stub_url(fault="500"))
    assert {status for _, status in errors.answers} == {500}
    assert errors.failed == errors.sent > 5
    assert errors.milliseconds == {}
    assert errors.answered_by("what it says itself") == errors.sent
    broken = sent_to(stub_url(fault="breaks-off"))
    assert broken.failed == broken.lost.total() == broken.sent > 5
    slow = sent_to(stub_url(fault="slow:1"), timeout_seconds=0.2)
    assert slow.lost == {"TimeoutError": slow.sent}
    nowhere = sent_to("http://127.0.0.1:9")
    assert nowhere.lost == {"ClientConnectorError": nowhere.sent}


def test_requests_are_sent_when_due_whether_or_not_others_are_answered(stub_url):
    url = stub_url(fault="slow:0.5")
    started = time.monotonic()
    with background_traffic(Load(url, REVIEWS, 100, seconds=0.3)) as count:
        time.sleep(0.3)
        assert count.answered == 0
        assert count.sent > 5
    # All were underway at once.
    assert time.monotonic() - started < 2
    assert count.answered == count.sent


def test_the_wait_for_a_connection_counts_as_latency(stub_url):
    count = sent_to(stub_url(fault="slow:0.2"), rate=20, connections=1)
    assert count.sent > 2
    (values,) = count.milliseconds.values()
    assert max(values) > 2 * 200 - 50


def test_requests_are_due_at_exponential_gaps_that_the_seed_decides():
    def times(count, seed):
        return list(islice(Load("", REVIEWS, 20, seed=seed).due_times(), count))

    assert times(50, 3) == times(50, 3) != times(50, 4)
    limited = Load("", REVIEWS, 20, seconds=2, seed=3).due_times()
    assert list(limited) == [due for due in times(100, 3) if due <= 2]
    gaps = [after - before for before, after in pairwise(times(2000, 1))]
    assert kstest(gaps, "expon", args=(0, 1 / 20)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ({"review_body": ["a", None, ""], "title": ["t", "x", "y"]}, [("t", "a", "", "")]),
        ({"review_body": ["a"], "n": [1]}, [(None, "a", "", "")]),
        (
            {"review_body": ["a", "b"], "review_id": ["r1", None], "product_category": ["x", "y"]},
            [(None, "a", "r1", "x"), (None, "b", "", "y")],
        ),
        ({"n": [1]}, "no column review_body"),
        ({"review_body": [""]}, "holds no review"),
    ],
)
def test_reviews_are_read_or_refused_in_words(tmp_path, columns, read):
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table(columns), path)
    if isinstance(read, list):
        assert read_reviews(path) == read
        return
    with pytest.raises(UserError, match=read):
        read_reviews(path)


def test_the_command_line_sends_and_prints_the_counts(stub_url, tmp_path):
    path, report, url = tmp_path / "reviews.parquet", tmp_path / "r.json", stub_url()
    pq.write_table(pa.table({"review_body": ["a", "b"]}), path)
    command = [sys.executable, "-m", "components.deployment.local.traffic", "--url", url]
    command += ["--reviews", str(path), "--rate", "100", "--report", str(report)]
    ended = subprocess.run([*command, "--seconds", "3"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    counts = json.loads(ended.stdout)
    assert counts["sent"] > 5
    assert json.loads(report.read_text()) == counts
    endless = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    until(lambda: len(httpx.get(f"{url}/seen").json()) > counts["sent"] + 5)
    endless.send_signal(signal.SIGTERM)
    assert json.loads(endless.communicate(timeout=20)[0])["sent"] > 5
    refused = subprocess.run([*command, "--rate", "0"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--rate 0.0 is not a rate" in refused.stderr
