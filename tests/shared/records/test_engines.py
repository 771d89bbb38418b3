import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.records.engines import (
    MAX_MACRO_F1_LOSS,
    MIN_LABELS_EQUAL,
    EngineCheck,
    read_engines,
    write_engines,
)

GOOD = EngineCheck("openvino-int8", "openvino/m.xml", "ab", "f32", 0.99, 0.7, 0.7, 0.01, 2000)
share = st.floats(0, 1)


@given(share, share, share)
def test_what_is_written_is_read(tmp_path_factory, labels_equal, found, expected):
    folder = tmp_path_factory.getbasetemp()
    assert read_engines(folder / "not exported") == []
    scores = {"labels_equal": labels_equal, "macro_f1": found, "macro_f1_reference": expected}
    checks = [GOOD, replace(GOOD, **scores)]
    write_engines(folder, checks)
    assert read_engines(folder) == checks
    written = json.loads((folder / "engines.json").read_text())["engines"]
    assert [row["may_serve"] for row in written] == [check.may_serve for check in checks]


@pytest.mark.parametrize(
    ("changed", "may"),
    [
        ({}, True),
        ({"labels_equal": MIN_LABELS_EQUAL}, True),
        ({"labels_equal": MIN_LABELS_EQUAL - 1e-6}, False),
        ({"macro_f1": 0.7 - MAX_MACRO_F1_LOSS + 1e-6}, True),
        ({"macro_f1": 0.7 - MAX_MACRO_F1_LOSS - 1e-6}, False),
        ({"macro_f1": 0.9}, True),
        ({"labels_equal": float("nan")}, False),
        ({"macro_f1": float("nan")}, False),
        ({"max_probability_difference": 0.2}, True),
        ({"max_probability_difference": 0.21}, False),
        ({"max_probability_difference": float("nan")}, False),
        ({"name": "openvino-bf16", "max_probability_difference": 0.04}, False),
        ({"name": "openvino-int8-bf16", "max_probability_difference": 0.04}, True),
        ({"name": "openvino-fp32", "max_probability_difference": 0.003}, False),
    ],
)
def test_it_serves_only_what_agrees(changed, may):
    assert replace(GOOD, **changed).may_serve is may
    assert replace(GOOD, name="openvino-fp32").is_reference
    assert not GOOD.is_reference
