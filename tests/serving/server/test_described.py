import json

import pytest

from components.serving.server.app import rest_application
from components.serving.server.data_plane import ForgivingDataPlane
from tests.serving.conftest import NAME, ask


def application(*, page=False, version="3", class_names=("bad", "good")):
    from kserve import Model

    model = Model(NAME)
    model.version, model.class_names = version, class_names
    model.engine_name, model.ready = "torch", True
    return rest_application(ForgivingDataPlane(model), 1000, page=page)


def described(**options):
    return json.loads(ask(application(**options), "/openapi.json", method="GET")[2])


def test_each_endpoint_that_is_described_is_there():
    app, known = application(), {"model_name": NAME, "model_version": "3"}
    paths = described()["paths"]
    assert {"/v1/models/{model_name}:predict", "/v2/models/{model_name}/infer"} <= set(paths)
    found = {
        (method, path): ask(app, path.format(**known), method=method.upper())[0]
        for path, operations in paths.items()
        for method in operations.keys() - {"parameters"}
    }
    assert {status for (method, _), status in found.items() if method == "get"} == {200}
    assert {status for (method, _), status in found.items() if method == "post"} == {400}


def test_it_speaks_of_the_model_that_is_served():
    paths = described()["paths"]
    parameters = paths["/v2/models/{model_name}/versions/{model_version}"]["parameters"]
    assert [one["schema"].get("enum") for one in parameters] == [[NAME], ["3"]]
    (prediction,) = [
        described()["components"]["schemas"]["V1Response"]["properties"]["predictions"]["items"]
    ]
    assert prediction["properties"]["label"] == {"enum": ["bad", "good"]}
    kinds = [
        set(described(page=on)["paths"]["/"]["get"]["responses"]["200"]["content"]) for on in (0, 1)
    ]
    assert kinds == [{"application/json"}, {"application/json", "text/html"}]


@pytest.mark.slow
def test_the_server_is_as_its_document_says_whatever_it_is_asked(server):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import checks
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    held = [
        *(checks.not_a_server_error, status_code_conformance, content_type_conformance),
        *(response_headers_conformance, response_schema_conformance),
    ]
    seen = {}
    for mode in schemathesis.GenerationMode:
        for result in schema.get_all_operations():
            operation = result.ok()
            if mode is schemathesis.GenerationMode.NEGATIVE and operation.method == "get":
                continue  # there is nothing to get wrong

            @settings(
                max_examples=40,
                deadline=None,
                suppress_health_check=[*HealthCheck],
                phases=[Phase.explicit, Phase.generate],
            )
            @given(operation.as_strategy(generation_mode=mode))
            def asked(case):
                response = case.call_and_validate(checks=held)
                seen.setdefault(case.operation.label, set()).add(response.status_code)

            asked()
    assert all(statuses <= {200, 400, 404, 405} for statuses in seen.values()), seen
    assert {200, 400} <= seen["POST /v1/models/{model_name}:predict"]
    assert server.process.poll() is None
    assert "Traceback" not in server.stderr.read_text()
