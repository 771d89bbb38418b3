import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.records.open_inference import infer_request, text_in, values_in


def test_a_request_carries_the_title_only_where_there_is_one():
    assert infer_request(None, "lovely") == infer_request("", "lovely")
    (text,) = infer_request(None, "lovely")["inputs"]
    assert text == {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["lovely"]}
    both = infer_request("Title", "it's awful \U0001f600")["inputs"]
    given = {"text": ["it's awful \U0001f600"], "title": ["Title"]}
    assert {i["name"]: i["data"] for i in both} == given
    known = infer_request(None, "lovely", product_category="Dresses", review_id="r1")["inputs"]
    assert [(i["name"], i["data"]) for i in known] == [
        *(("text", ["lovely"]), ("review_id", ["r1"]), ("product_category", ["Dresses"])),
    ]


def test_an_output_is_found_by_its_name():
    outputs = [{"name": "label"}, {"name": "probabilities", "data": [0.25, 0.75]}]
    outputs.append({"name": "model_version", "data": [7]})
    content = json.dumps({"outputs": outputs}).encode()
    assert values_in(content, "probabilities") == [0.25, 0.75]
    assert text_in(content, "model_version") == "7"
    assert text_in(content, "label") == ""
    assert values_in(content, "no such") == []


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b"{}", b'{"outputs": [3]}'),
        b'{"outputs": [{"name": "label", "data": []}]}',
        b'{"outputs": [{"name": "label", "data": 3}]}',
    ],
)
def test_what_is_no_answer_says_nothing(content):
    assert text_in(content, "label") == ""


@given(st.binary() | st.text().map(str.encode))
def test_no_content_is_too_odd_to_be_read(content):
    assert values_in(content, "label") == []
