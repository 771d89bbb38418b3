"""A payload log in few words."""

from pathlib import Path

import numpy as np

from components.serving.observing.payload_log import BufferLimits, PayloadLog
from components.serving.observing.payload_rows import Asked, PayloadRows
from components.shared.records.payloads import read_payloads

CHANCES = np.array([[0.1, 0.2, 0.7]])


def opened(uri, **changes):
    limits = {name: changes.pop(name) for name in vars(BufferLimits()) if name in changes}
    about = {name: changes.pop(name) for name in ("masker", "on_masked") if name in changes}
    rows = PayloadRows("reviews", "7", known_words={"lovely"}, **about)
    return PayloadLog(str(uri), rows, limits=BufferLimits(**limits), **changes)


def record(log, request_id="a", text="lovely dress"):
    log.record(request_id, [Asked(text)], np.array([2]), CHANCES, np.array([False]))


def files(folder):
    return sorted(Path(folder).rglob("*.parquet"))


def logged(uri, *request_ids, **changes):
    """The rows that a log lost of these requests, one review each, once it was closed."""
    lost = []
    log = opened(uri, on_dropped=lost.append, **changes)
    for request_id in request_ids:
        record(log, request_id)
    log.close()
    return sum(lost)


def ids(uri):
    return read_payloads(str(uri))["request_id"].to_pylist()
