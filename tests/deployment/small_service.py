"""An InferenceService of small models, and the processes that serve them, in few words."""

from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.local.model_process import ServedModel
from components.deployment.local.plan import Seen, WantedCanary

NAME = "review-sentiment"


def model(version):
    return ServedModel(NAME, f"/m/{version}", version)


ONE, TWO, THREE = model("1"), model("2"), model("3")


def seen(of, number=1, ready=True, ending=False, port=None):
    port = (20_000 + 10 * int(of.version) + number if port is None else port) if ready else port
    return Seen(f"{of.key}-{number}", of.key, of.version, port, ready, ending)


def canary(of, percent, name=None):
    return WantedCanary(name or f"v{of.version}", percent, of)


def described(version="1", mode="Standard"):
    service = render_inference_service(NAME, version, "s3://models/m", mode=mode)
    service["spec"]["predictor"]["model"] = model_spec(version)
    return service


def model_spec(version, **environment):
    names = {"MODEL_VERSION": version, **environment}
    return {
        "modelFormat": {"name": NAME},
        "storageUri": f"file:///m/{version}",
        "env": [{"name": name, "value": value} for name, value in names.items()],
    }


def with_canary(version, percent, **environment):
    predictor = {"name": f"v{version}", "model": model_spec(version, **environment)}
    return {"spec": {"canary": [{"trafficPercent": percent, "predictor": predictor}]}}


def conditions(status):
    return {condition["type"]: condition["status"] for condition in status["conditions"]}
