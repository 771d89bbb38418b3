from pathlib import Path

import pytest
import yaml

from components.contracts.errors import UserError
from components.contracts.images import PREDICTOR_IMAGE
from components.deployment.inference_service import (
    RUNTIME,
    render_inference_service,
    storage_uri_of,
    to_yaml,
)

RUNTIME_FILE = (
    Path(__file__).resolve().parents[2] / "manifests" / "base" / "serving" / "servingruntime.yaml"
)
SERVICES = "serving.kserve.io_inferenceservices.yaml"
RUNTIMES = "serving.kserve.io_servingruntimes.yaml"


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_the_service_is_what_the_crd_wants(mode, faults_of):
    service = render_inference_service(
        "review-sentiment", "3", "s3://models/3", mode=mode, model_digest="abc"
    )
    assert faults_of(service, SERVICES) == []
    assert yaml.safe_load(to_yaml(service)) == service
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == mode
    assert annotations["review-sentiment/model-version"] == "3"
    model = service["spec"]["predictor"]["model"]
    assert model["env"] == [{"name": "MODEL_VERSION", "value": "3"}]
    assert model["storageUri"] == "s3://models/3"


def test_the_check_against_the_crd_is_strict(faults_of):
    service = render_inference_service("review-sentiment", "3", "s3://models/3")
    service["spec"]["predictor"]["model"]["storageURI"] = "s3://typo"
    service["spec"]["predictor"]["minReplicas"] = "one"
    faults = faults_of(service, SERVICES)
    assert any("storageURI" in fault for fault in faults)
    assert any("minReplicas" in fault for fault in faults)


@pytest.mark.parametrize("name", ["Reviews", "a_b", "-a", "a" * 41, "", "a-"])
def test_a_name_that_no_service_can_have_is_refused(name):
    with pytest.raises(UserError, match="cannot name a service"):
        render_inference_service(name, "3", "s3://models/3")


def test_a_place_that_kserve_cannot_read_is_refused():
    with pytest.raises(UserError, match="cannot fetch"):
        render_inference_service("review-sentiment", "3", "/home/me/model")


def test_where_the_model_lies():
    assert storage_uri_of("minio://mlpipeline/v2/model", "m", "3") == "s3://mlpipeline/v2/model"
    assert storage_uri_of("gs://bucket/model", "m", "3") == "gs://bucket/model"
    assert storage_uri_of("/runs/1/model", "m", "3") == "s3://models/m/3"
    assert storage_uri_of("", "m", "3") == "s3://models/m/3"


def test_the_runtime_is_what_the_crd_wants_restricted_and_ours(faults_of):
    runtime = yaml.safe_load(RUNTIME_FILE.read_text())
    assert faults_of(runtime, RUNTIMES) == []
    assert runtime["metadata"]["name"] == RUNTIME
    assert [form["name"] for form in runtime["spec"]["supportedModelFormats"]] == [RUNTIME]
    (container,) = runtime["spec"]["containers"]
    assert container["image"] == PREDICTOR_IMAGE
    assert container["name"] == "kserve-container"
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["runAsNonRoot"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    ready = "/v2/models/{{.Name}}/ready"
    assert container["readinessProbe"]["httpGet"]["path"] == ready
    assert container["startupProbe"]["httpGet"]["path"] == ready
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_the_runtimes_command_is_one_that_we_have(capsys, monkeypatch):
    from components.serving import __main__ as command

    runtime = yaml.safe_load(RUNTIME_FILE.read_text())
    (container,) = runtime["spec"]["containers"]
    assert container["command"] == ["python", "-m", "components.serving"]
    monkeypatch.setattr("sys.argv", ["serving", *container["args"], "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    known = capsys.readouterr().out
    for argument in container["args"]:
        assert argument.split("=")[0] in known
