"""An InferenceService of small models, and the processes that serve them, in few words."""

from components.deployment.kserve.inference_service import render_inference_service

NAME = "review-sentiment"


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
