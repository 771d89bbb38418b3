import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.model.predictor import Predictions
from components.serving.server.protocol import (
    MAX_CHARACTERS,
    MAX_MARKS,
    MAX_REVIEWS,
    V2_OUTPUTS,
    Review,
    predictions_of_v1,
    response_of_v2,
    reviews_of_v1,
    reviews_of_v2,
)
from components.shared.machine.errors import UserError
from components.shared.records.text import model_text
from tests.serving.conftest import anything

SAID = Predictions(
    np.array([2, 0]), np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]), truncated=[False, False]
)
CUT = Predictions(SAID.classes, SAID.probabilities, truncated=[False, True])


def v2(*tensors, outputs=None):
    from kserve import InferRequest
    from kserve.protocol.rest.v2_datamodels import InferenceRequest

    body = {"id": "7", "inputs": list(tensors)}
    body |= {"outputs": outputs} if outputs else {}
    return InferRequest.from_inference_request(InferenceRequest.model_validate(body), "m")


def tensor(name, data, shape=None, datatype="BYTES"):
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def texts(*given):
    return [Review(text) for text in given]


def test_v1_takes_texts_and_objects():
    objects = {"title": "Nice", "review_body": "fits"}, {"review_body": " ok "}, {"review_id": "r7"}
    body = {"instances": ["soft", *objects]}
    expected = [*texts("soft", "Nice. fits", "ok"), Review("", "r7")]
    assert reviews_of_v1(body) == reviews_of_v1(json.dumps(body).encode()) == expected


def test_v1_takes_what_the_payload_log_is_told():
    about = {"review_id": "r7", "product_category": "Dresses"}
    nothing = {"review_id": "", "product_category": None}
    asked = [{"review_body": "soft"} | about, about, {"title": "Nice"} | nothing]
    assert reviews_of_v1({"instances": asked}) == [
        *(Review("soft", "r7", "Dresses"), Review("", "r7", "Dresses"), Review("Nice"))
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        ([], "send"),
        ({}, "send"),
        ({"instances": "soft"}, "send"),
        ({"instances": []}, "empty"),
        ({"instances": ["soft", 3]}, r"instances\[1\] is neither"),
        ({"instances": ["soft", " \n"]}, r"instances\[1\] is blank"),
        ({"instances": [{"title": None, "review_body": ""}]}, r"instances\[0\] is blank"),
        ({"instances": [{"review_body": 5}]}, r"instances\[0\]\.review_body is not a text"),
        ({"instances": [{"review": "soft"}]}, "unknown key 'review'"),
        ({"instances": ["soft"] * (MAX_REVIEWS + 1)}, f"at most {MAX_REVIEWS}"),
        ({"instances": ["a" * (MAX_CHARACTERS + 1)]}, f"at most {MAX_CHARACTERS}"),
        ({"instances": ["a" + "\u0301\u0316" * MAX_MARKS]}, "combining marks in a row"),
        ({"instances": ["\u0301\u200b" * (MAX_CHARACTERS // 2)]}, "combining marks in a row"),
        ({"instances": ["\u0f73" * MAX_CHARACTERS]}, "combining marks in a row"),
        ({"instances": [{"review_id": ""}]}, r"instances\[0\] is blank"),
        ({"instances": [{"review_id": None}]}, r"instances\[0\] is blank"),
        ({"instances": [{"review_id": 7}]}, r"instances\[0\]\.review_id is not a text"),
        ({"instances": [{"review_id": "7", "title": ""}]}, r"instances\[0\] is blank"),
        ({"instances": [{"product_category": "a"}]}, r"instances\[0\] is blank"),
        ({"instances": [{"title": "a", "product_category": 7}]}, "product_category is not a text"),
        ({"instances": [{"title": "a", "product_category": "a" * 1001}]}, "at most 1000"),
        ({"instances": [{"review_id": "a" * 1001}]}, r"review_id of instances\[0\] has 1001"),
    ],
)
def test_v1_says_what_is_wrong(body, reason):
    with pytest.raises(UserError, match=reason):
        reviews_of_v1(body)


@given(anything | st.fixed_dictionaries({"instances": anything}) | st.binary(max_size=40))
def test_v1_never_fails_but_by_a_user_error(body):
    try:
        reviews = reviews_of_v1(body)
    except UserError:
        return
    assert all(review.text.strip() or review.review_id for review in reviews)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=5))
def test_v1_reads_the_text_that_training_reads(reviews):
    instances = [{"title": title, "review_body": body} for title, body in reviews]
    expected = [model_text(title, body) for title, body in reviews]
    if all(expected):
        assert reviews_of_v1({"instances": instances}) == texts(*expected)
    else:
        with pytest.raises(UserError, match="blank"):
            reviews_of_v1({"instances": instances})


def test_v1_answers_label_and_probabilities():
    first, second = predictions_of_v1(CUT, "m", "3")["predictions"]
    assert first == {
        "label": "positive",
        "label_id": 2,
        "probabilities": {"negative": 0.1, "neutral": 0.2, "positive": 0.7},
        "truncated": False,
        "model_name": "m",
        "model_version": "3",
    }
    assert (second["label"], second["truncated"]) == ("negative", True)


def test_v2_takes_texts_with_and_without_titles_and_keys():
    assert reviews_of_v2(v2(tensor("text", ["soft", "itchy"]))) == texts("soft", "itchy")
    both = v2(tensor("title", ["Nice", ""]), tensor("text", ["soft", "itchy"]))
    assert reviews_of_v2(both) == texts("Nice. soft", "itchy")
    assert reviews_of_v2(v2(tensor("text", ["soft"], [1, 1]))) == texts("soft")
    keys = v2(tensor("review_id", ["r7", "r8"]))
    assert reviews_of_v2(keys) == [Review("", "r7"), Review("", "r8")]


def test_v2_takes_what_the_payload_log_is_told():
    about = [tensor("review_id", ["r7", ""]), tensor("product_category", ["Dresses", ""])]
    assert reviews_of_v2(v2(tensor("text", ["soft", "itchy"]), *about)) == [
        *(Review("soft", "r7", "Dresses"), Review("itchy"))
    ]
    about[0]["data"] = ["r7", "r8"]
    assert reviews_of_v2(v2(*about)) == [Review("", "r7", "Dresses"), Review("", "r8")]


def test_marks_that_people_write_are_read():
    spelled = "a\u0301" * 1000 + "x" + "\u0316" * MAX_MARKS
    assert reviews_of_v1({"instances": [spelled]}) == texts(model_text(None, spelled))


def test_v2_takes_binary_tensors():
    from kserve import InferInput, InferRequest

    text = InferInput("text", [2], "BYTES")
    text.set_data_from_numpy(np.array(["süß".encode(), b"itchy"], dtype=np.object_))
    assert reviews_of_v2(InferRequest("m", [text])) == texts("süß", "itchy")
    category = InferInput("product_category", [2], "BYTES")
    category.set_data_from_numpy(np.array(["Größen".encode(), b""], dtype=np.object_))
    both = InferRequest("m", [text, category])
    assert [review.product_category for review in reviews_of_v2(both)] == ["Größen", ""]
    text.set_data_from_numpy(np.array([b"\xff\xfe", b"itchy"], dtype=np.object_))
    with pytest.raises(UserError, match=r"text\[0\] is not UTF-8"):
        reviews_of_v2(InferRequest("m", [text]))
    text._raw_data = b"\x09\x00\x00\x00abc"
    with pytest.raises(UserError, match="does not hold 2 texts"):
        reviews_of_v2(InferRequest("m", [text]))


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([], "'text' is missing"),
        ([tensor("title", ["a"])], "'text' is missing"),
        ([tensor("body", ["a"])], "no input 'body'"),
        ([tensor("text", ["a"]), tensor("text", ["a"])], "given twice"),
        ([tensor("text", ["a"]), tensor("title", ["a", "b"])], "'title' holds 2"),
        ([tensor("text", [1], datatype="INT32")], "INT32; send BYTES"),
        ([tensor("text", [1])], r"text\[0\] is not a text"),
        ([tensor("text", ["a", " "])], r"text\[1\] is blank"),
        ([tensor("text", ["a", "b"], [3])], "does not hold 3 texts"),
        ([tensor("text", ["a", "b"], [1, 2])], "has shape"),
        ([tensor("text", ["a"], [-1])], "has shape"),
        ([tensor("text", [], [0])], "empty"),
        ([tensor("text", ["a"], [10**12])], "at most"),
        ([tensor("text", [["a", "b"], ["c"]], [2])], r"text\[0\] is not a text"),
        ([tensor("review_id", [""])], r"review_id\[0\] is blank"),
        ([tensor("review_id", ["7"]), tensor("title", ["a"])], "'text' is missing"),
        ([tensor("review_id", ["7", "8"]), tensor("text", ["a"])], "'review_id' holds 2"),
        ([tensor("text", ["a"]), tensor("product_category", [7])], "is not a text"),
        ([tensor("text", ["a"]), tensor("product_category", ["a" * 1001])], "at most 1000"),
        ([tensor("text", [""]), tensor("review_id", ["7"])], r"text\[0\] is blank"),
    ],
)
def test_v2_says_what_is_wrong(tensors, reason):
    with pytest.raises(UserError, match=reason):
        reviews_of_v2(v2(*tensors))


def test_v2_says_which_output_it_has_not():
    with pytest.raises(UserError, match="no output 'score'"):
        reviews_of_v2(v2(tensor("text", ["a"]), outputs=[{"name": "score"}]))


def answer_of_v2(predictions):
    request = v2(tensor("text", ["a", "b"]))
    return response_of_v2(predictions, request, "m", "3", 32).to_rest()[0]


def test_v2_answers_typed_tensors():
    answer = answer_of_v2(SAID)
    assert (answer["id"], answer["model_version"]) == ("7", "3")
    assert answer["parameters"] == {"class_names": "negative,neutral,positive"}
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["label"]["data"] == ["positive", "negative"]
    expected = {"name": "label_id", "shape": [2], "datatype": "INT32", "data": [2, 0]}
    assert outputs["label_id"].items() >= expected.items()
    assert outputs["probabilities"]["shape"] == [2, 3]
    assert np.allclose(outputs["probabilities"]["data"], SAID.probabilities.ravel())
    assert outputs["model_version"]["data"] == ["3", "3"]


def test_v2_says_which_reviews_were_cut_and_where():
    parameters = answer_of_v2(CUT)["parameters"]
    assert parameters["truncated"] == "1"
    assert parameters["truncation"] == "the first 32 tokens are read"


@given(st.lists(st.sampled_from([tensor["name"] for tensor in V2_OUTPUTS]), max_size=5))
def test_v2_answers_what_was_asked_for_over_grpc_as_over_rest(names):
    request = v2(tensor("text", ["a", "b"]), outputs=[{"name": name} for name in names])
    wanted = set(names) or {tensor["name"] for tensor in V2_OUTPUTS}
    rest, _ = response_of_v2(SAID, request, "m", "3", 32).to_rest()
    grpc = response_of_v2(SAID, request, "m", "3", 32).to_grpc()
    assert {output["name"] for output in rest["outputs"]} == wanted
    assert {output.name for output in grpc.outputs} == wanted


@pytest.mark.parametrize("shape", [None, 3, ["x"], [[1]], [None]])
def test_v2_says_that_a_shape_is_missing(shape):
    from kserve import InferInput, InferRequest

    text = InferInput("text", [1], "BYTES", ["soft"])
    text._shape = shape
    with pytest.raises(UserError, match="has no shape"):
        reviews_of_v2(InferRequest("m", [text]))
