import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve import InferRequest, Model
from kserve.errors import InvalidInput

from components.serving.server.data_plane import ForgivingDataPlane
from tests.serving.conftest import NAME, anything, element

CONTENT = element(b"soft")
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES"}
SIZE = {"binary_data_size": len(CONTENT)}
OF_PYTHON = re.compile(
    r"object (has|is)|attribute|iterable|subscript|NoneType|__|pydantic|argument"
)


@pytest.fixture(scope="module")
def plane():
    return ForgivingDataPlane(Model(NAME))


def decoded(plane, head, tail=CONTENT, size=None):
    body = head if isinstance(head, bytes) else json.dumps(head).encode()
    length = str(len(body)) if size is None else size
    sent = {"inference-header-content-length": length}
    return plane.decode(body + tail, sent, "v2", NAME)[0]


def refusal(plane, *args, **named):
    with pytest.raises(InvalidInput) as refused:
        decoded(plane, *args, **named)
    reason = refused.value.reason
    assert not OF_PYTHON.search(reason)
    return reason


def test_texts_are_read_from_behind_the_head_and_from_it(plane):
    title = {**TENSOR, "name": "title", "data": ["hm"]}
    request = decoded(plane, {"inputs": [title, {**TENSOR, "parameters": SIZE}]})
    assert [one.as_numpy().tolist() for one in request.inputs] == [["hm"], ["soft"]]


PARAMETERS = [1, "x", [1], True, {"a": [1]}, {"a": {"b": 1}}, {"a": None}]


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("place", ["parameters", "inputs.0.parameters", "outputs.0.parameters"])
def test_parameters_of_a_wrong_shape_are_refused_by_their_place(plane, place, parameters):
    head = {"inputs": [{**TENSOR, "parameters": SIZE}], "outputs": [{"name": "label"}]}
    where = {"p": head, "i": head["inputs"][0], "o": head["outputs"][0]}[place[0]]
    where["parameters"] = parameters
    wanted = "object" if not isinstance(parameters, dict) else "a text, a number, true or false"
    with pytest.raises(InvalidInput, match=rf"{place}.*: Input should be (an )?{wanted}"):
        decoded(plane, head)


@pytest.mark.parametrize("size", [None, "8", 8.0, True, -8])
def test_a_tensor_says_how_long_it_is(plane, size):
    parameters = {} if size is None else {"binary_data_size": size}
    assert "no binary_data_size" in refusal(plane, {"inputs": [{**TENSOR, **parameters}]})


@pytest.mark.parametrize(("size", "tail"), [(8, b""), (8, CONTENT * 2), (0, CONTENT), (99, b"")])
def test_the_tensors_are_as_long_as_they_say(plane, size, tail):
    head = {"inputs": [{**TENSOR, "parameters": {"binary_data_size": size}}]}
    assert f"add up to {size} bytes, but {len(tail)} follow" in refusal(plane, head, tail)


@pytest.mark.parametrize("size", ["", "x", "-1", "1.5", "99999", "9" * 5000, "²"])
def test_the_head_says_how_long_it_is(plane, size):
    assert "not the size of the JSON" in refusal(plane, {"inputs": []}, size=size)


tensors = st.fixed_dictionaries({}, optional=dict.fromkeys((*TENSOR, "data"), anything))
tensors = st.builds(lambda given, more: {**TENSOR, **given, "parameters": more}, tensors, anything)
heads = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | anything},
    optional={"id": anything, "parameters": anything, "outputs": st.lists(anything) | anything},
)


@given(heads.map(lambda head: json.dumps(head).encode()) | st.binary(), st.binary(max_size=20))
def test_whatever_is_sent_is_read_or_refused_in_the_clients_words(plane, head, tail):
    try:
        read, reason = decoded(plane, head, tail), ""
    except InvalidInput as error:
        read, reason = None, error.reason
    assert isinstance(read, InferRequest) or (reason and not OF_PYTHON.search(reason)), reason
