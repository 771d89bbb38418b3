from pathlib import Path

import pytest
import yaml

from components.deployment.kserve import state
from components.deployment.kserve.inference_service import (
    RUNTIME,
    ServiceSettings,
    render_inference_service,
    storage_uri_of,
)
from components.deployment.kserve.state import mode_of, state_of
from components.deployment.service import ServiceState
from components.shared.kubernetes.namespace_objects import RUN_AS_USER
from components.shared.machine.errors import UserError
from tests.stand_ins.kept_objects import faults_of

RUNTIME_FILE = (
    Path(__file__).resolve().parents[3] / "manifests" / "base" / "serving" / "servingruntime.yaml"
)


@pytest.fixture
def runtime():
    return yaml.safe_load(RUNTIME_FILE.read_text())


def rendered(mode="Standard", **settings):
    chosen = ServiceSettings.from_dict(settings)
    return render_inference_service("m", "3", "s3://m/3", mode=mode, settings=chosen)


def predictor_of(mode="Standard", **settings):
    return rendered(mode, **settings)["spec"]["predictor"]


def test_the_service_is_what_the_crd_wants(mode):
    service = render_inference_service("reviews", "3", "s3://m/3", mode=mode, model_digest="abc")
    assert faults_of(service) == []
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == mode
    assert annotations["review-sentiment/model-digest"] == "abc"
    model = service["spec"]["predictor"]["model"]
    env = {one["name"]: one["value"] for one in model["env"]}
    assert env == {"MODEL_VERSION": "3", "MODEL_DIGEST": "abc"}
    assert model["storageUri"] == "s3://m/3"
    assert (mode_of(service), state_of(service)) == (mode, ServiceState("3"))


def test_each_mode_has_only_the_fields_that_it_allows(runtime):
    """Knative's fieldmask.go; its podspec-securitycontext is off by default."""
    predictor = predictor_of("Knative")
    assert not {"securityContext", "terminationGracePeriodSeconds"} & set(predictor)
    assert not {"lifecycle", "ports"} & set(predictor["model"])
    predictor = predictor_of("Standard")
    assert predictor["securityContext"]["runAsNonRoot"] is True
    assert predictor["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    pause = int(predictor["model"]["lifecycle"]["preStop"]["exec"]["command"][1])
    (container,) = runtime["spec"]["containers"]
    drain = next(int(a.split("=")[1]) for a in container["args"] if "drain" in a)
    assert predictor["terminationGracePeriodSeconds"] > pause + drain


KEDA = {
    "scale_by": "prometheus",
    "scale_target": 8,
    "prometheus_server": "http://prometheus:9090",
    "prometheus_query": "sum(queued_reviews)",
}
QUERY = {
    "backend": "prometheus",
    "serverAddress": "http://prometheus:9090",
    "query": "sum(queued_reviews)",
}
BY_QUERY = {"metric": QUERY, "target": {"type": "Value", "value": "8"}}
EXTERNAL = {"autoScaling": {"metrics": [{"type": "External", "external": BY_QUERY}]}}


def by(metric, target):
    return {"scaleMetric": metric, "scaleTarget": target}


@pytest.mark.parametrize(
    ("mode", "scaling", "fields", "autoscaler"),
    [
        ("Knative", {"min_replicas": 0}, by("concurrency", 16), None),
        ("Knative", {"scale_by": "rps", "scale_target": 50}, by("rps", 50), None),
        ("Standard", {}, by("cpu", 70), "hpa"),
        ("Standard", {"scale_by": "memory", "scale_target": 80}, by("memory", 80), "hpa"),
        ("Standard", {"scale_by": "none"}, {}, "none"),
        ("Standard", KEDA, EXTERNAL, "keda"),
    ],
)
def test_scaling_is_described_as_each_mode_wants_it(mode, scaling, fields, autoscaler):
    given = {"min_replicas": 2, "max_replicas": 7, **scaling}
    service = rendered(mode, **given)
    assert faults_of(service) == []
    predictor = service["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (given["min_replicas"], 7)
    scaled = {"scaleMetric", "scaleTarget", "autoScaling"} & set(predictor)
    assert {name: predictor[name] for name in scaled} == fields
    found = service["metadata"]["annotations"].get("serving.kserve.io/autoscalerClass")
    assert found == autoscaler


@pytest.mark.parametrize(
    ("mode", "settings", "words"),
    [
        ("Standard", {"min_replicas": 0}, "0 to 3 replicas cannot be had"),
        ("Standard", {"min_replicas": 4}, "4 to 3 replicas"),
        ("Knative", {"min_replicas": -1}, "min_replicas must lie from 0 to 1000, not -1"),
        ("Knative", {"min_replicas": 0, "max_replicas": 0}, "max_replicas must lie from 1"),
        ("Standard", {"scale_by": "rps", "scale_target": 5}, "does not scale by rps"),
        ("Knative", {"scale_by": "cpu", "scale_target": 5}, "does not scale by cpu"),
        ("Standard", {"scale_by": "memory"}, "at least 1 and at most 100"),
        ("Standard", {"scale_target": 101}, "at least 1 and at most 100"),
        ("Knative", {"scale_by": "rps"}, "scale_target must be at least 1$"),
        ("Standard", KEDA | {"prometheus_query": ""}, "prometheus_server and prometheus_query"),
        ("Standard", {"scale_by": "pods"}, "scale_by must be one of , concurrency"),
        ("Knative", {"grpc": True}, "Knative allows one port"),
        ("Standard", {"payload_uri": "s3://me:secret@b/log"}, "holds a password"),
        ("Standard", {"grace_seconds": 30}, "grace_seconds must lie from 55"),
        ("Standard", {"replicas": 1}, r"no service setting replicas; .* are min_replicas, "),
        ("Standard", {"min_replicas": float("inf")}, "must be a whole number, not inf"),
    ],
)
def test_settings_that_do_not_fit_are_refused(mode, settings, words):
    with pytest.raises(UserError, match=words):
        rendered(mode, **settings)


def test_the_servers_are_given_where_to_log():
    assert ServiceSettings(payload_uri="s3://b/log").arguments == ("--payload-log=s3://b/log",)
    own = ("--engine=torch", "--payload-log", "/mine")
    assert ServiceSettings(payload_uri="s3://b/log", server_arguments=own).arguments == own
    assert ServiceSettings().arguments == ()


def test_settings_are_read_as_a_pipeline_gives_them():
    """Numbers in a pipeline's parameter are floats, the whole ones too."""
    given = {"min_replicas": 3.0, "cpu": 2.0, "server_arguments": ["--batch-reviews=4"]}
    meant = {"min_replicas": 3, "cpu": "2", "server_arguments": ("--batch-reviews=4",)}
    assert ServiceSettings.from_dict(given) == ServiceSettings(**meant)
    assert ServiceSettings.from_dict({"cpu": 0.5}).cpu == "0.5"


def test_grpc_and_further_arguments(runtime):
    service = rendered(grpc=True, server_arguments=["--batch-reviews=16"])
    assert faults_of(service) == []
    model = service["spec"]["predictor"]["model"]
    assert model["args"] == ["--batch-reviews=16", "--grpc-port=8081"]
    # A Kubernetes Service of several ports needs a name for each.
    (port,) = model["ports"]
    assert (port["containerPort"], port["name"]) == (8081, "h2c")
    (container,) = runtime["spec"]["containers"]
    assert [port["name"] for port in container["ports"]] == ["http1"]


def test_bookkeeping_on_the_service_never_reaches_a_pod():
    noted = {value for name, value in vars(state).items() if name.endswith("_ANNOTATION")}
    masked = set(predictor_of()["annotations"])
    assert {key for key in noted if key.startswith("review-sentiment/")} == masked


@pytest.mark.parametrize("name", ["Reviews", "a_b", "-a", "a" * 41, "", "a-"])
def test_a_name_that_no_service_can_have_is_refused(name):
    with pytest.raises(UserError, match="cannot name a service"):
        render_inference_service(name, "3", "s3://models/3")


@pytest.mark.parametrize("uri", ["/home/me/model", "file:///runs/1/model"])
def test_a_place_that_kserve_cannot_read_is_refused_and_another_taken(uri):
    with pytest.raises(UserError, match="cannot fetch"):
        render_inference_service("review-sentiment", "3", uri)
    assert storage_uri_of(uri, "m", "3") == storage_uri_of("", "m", "3") == "s3://models/m/3"
    assert storage_uri_of("minio://mlpipeline/v2/model", "m", "3") == "s3://mlpipeline/v2/model"
    assert storage_uri_of("gs://bucket/model", "m", "3") == "gs://bucket/model"


def test_the_runtime_is_the_services_and_knows_when_it_is_ready(runtime):
    assert [form["name"] for form in runtime["spec"]["supportedModelFormats"]] == [RUNTIME]
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    assert container["securityContext"]["runAsUser"] == RUN_AS_USER
    ready = "/v2/models/{{.Name}}/ready"
    assert container["readinessProbe"]["httpGet"]["path"] == ready
    assert container["startupProbe"]["httpGet"]["path"] == ready
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_the_runtimes_command_is_one_that_we_have(runtime, capsys, monkeypatch):
    from components.serving import __main__ as command

    (container,) = runtime["spec"]["containers"]
    assert container["command"] == ["python", "-m", "components.serving"]
    monkeypatch.setattr("sys.argv", ["serving", *container["args"], "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    known = capsys.readouterr().out
    for argument in container["args"]:
        assert argument.split("=")[0] in known
