"""A payload log in few words."""

from pathlib import Path

import numpy as np

from components.serving.observing.payload_log import PayloadLog

CHANCES = np.array([[0.1, 0.2, 0.7]])


def opened(uri, **changes):
    options = {"model_name": "reviews", "model_version": "7", **changes}
    return PayloadLog(str(uri), **options)


def record(log, request_id="a", text="lovely dress"):
    log.record(request_id, [text], np.array([2]), CHANCES, np.array([False]))


def files(folder):
    return sorted(Path(folder).rglob("*.parquet"))
