import json
import os
import shutil
from pathlib import Path

import httpx
import pytest
import yaml

from components.shared.kubernetes.namespace_objects import RUN_AS_USER
from pipelines.running.compile import compile_all
from tests.deployment.conftest import until
from tests.images.container import BASE_VARIABLE, OPTIONS_VARIABLE, Container, container

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (os.environ.get(BASE_VARIABLE) and shutil.which("buildah") and os.geteuid() == 0),
        reason=f"needs buildah, root, and {BASE_VARIABLE}, an image with Python 3.11, pip and venv "
        f"({OPTIONS_VARIABLE}: what buildah needs to reach a package index)",
    ),
]

MODEL = "review-sentiment"
COMPILERS = ("pip", "pip3", "gcc", "cc", "g++", "cc1", "protoc", "make")


@pytest.fixture(scope="module")
def shared(tmp_path_factory, tiny_bert):
    """A volume that the user of the images may write, with a base model."""
    folder = tmp_path_factory.mktemp("shared")
    base = Path(shutil.copytree(tiny_bert, folder / "base"))
    for path in (folder, base, *base.iterdir()):
        os.chown(path, RUN_AS_USER, RUN_AS_USER)
    return folder


def _started(image):
    @pytest.fixture(scope="module", name=image)
    def fixture(shared):
        with container(image, shared) as running:
            yield running

    return fixture


steps, training, predictor = map(_started, ("steps", "training", "predictor"))


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    compile_all(folder)
    return next(yaml.safe_load_all((folder / "training.yaml").read_text()))


def run_step(image, spec, step, parameters, artifacts=None):
    """Run a component as the launcher of Kubeflow Pipelines does; return its parameters.

    Artifacts are at /mnt/<step>/<name>; `artifacts` names those that go in.
    """

    def artifact(name, place, kind):
        return {"artifacts": [{"name": name, "uri": f"/mnt/{place}", "type": kind}]}

    component = spec["components"][f"comp-{step}"]
    declared = component.get("inputDefinitions", {}).get("artifacts", {})
    made = component.get("outputDefinitions", {})
    inputs = {
        name: artifact(name, place, declared[name]["artifactType"])
        for name, place in (artifacts or {}).items()
    }
    outputs = {
        name: artifact(name, f"{step}/{name}", one["artifactType"])
        for name, one in made.get("artifacts", {}).items()
    }
    files = {name: {"outputFile": f"/mnt/{step}/{name}"} for name in made.get("parameters", {})}
    written = {"outputFile": f"/mnt/{step}/output.json", "parameters": files, "artifacts": outputs}
    given = {"inputs": {"parameterValues": parameters, "artifacts": inputs}, "outputs": written}
    folder = image.shared / step
    folder.mkdir()
    os.chown(folder, RUN_AS_USER, RUN_AS_USER)
    called = spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]
    arguments = [json.dumps(given) if one == "{{$}}" else one for one in called["args"]]
    store = {"FEATURE_STORE_DIR": "/mnt/feature_store"}
    image.run(*called["command"], *arguments, environment=store)
    return json.loads((folder / "output.json").read_text()).get("parameterValues", {})


@pytest.fixture(scope="module")
def prepared(steps, spec):
    def run(step, parameters, **artifacts):
        return run_step(steps, spec, step, parameters, artifacts)

    read = run("ingest-reviews", {"data_uri": "sample", "labels_required": True})
    division = {"seed": 1, "validation_share": 0.1, "test_share": 0.1, "balance": "none"}
    run("prepare-reviews", division, reviews="ingest-reviews/reviews")
    prepared = "prepare-reviews/prepared"
    tokens = {"base_model": "/mnt/base", "max_tokens": 48}
    tokens["data_fingerprint"] = read["data_fingerprint"]
    stored = run("build-features", tokens, prepared=prepared)
    service = {"feature_service": stored["feature_service"]}
    run("retrieve-training-set", service, prepared=prepared)
    return {**read, **stored}


@pytest.fixture(scope="module")
def model(training, prepared):
    training.run(
        *training.config["Entrypoint"],
        *("--training-set", "/mnt/retrieve-training-set/training_set", "--base-model", "/mnt/base"),
        *("--output", "/mnt/model", "--epochs", "1", "--min-steps", "2"),
    )
    return training.shared / "model"


@pytest.mark.parametrize("image", ["steps", "training", "predictor"])
def test_an_image_has_a_user_without_rights_and_nothing_to_install_with(image, request):
    built: Container = request.getfixturevalue(image)
    for folder in ("usr/bin", "usr/local/bin", "usr/lib/gcc", "venv/bin"):
        assert not [path for path in (built.root / folder).glob("*") if path.name in COMPILERS]
    assert built.config["User"] == f"{RUN_AS_USER}:{RUN_AS_USER}"
    written = built.run("sh", "-c", "id -u; touch /tmp/here; touch /app/there || echo refused")
    assert written.splitlines()[0] == str(RUN_AS_USER)
    assert written.splitlines()[-1] == "refused"
    code = "from components.shared.machine.images import code_version; print(code_version())"
    assert built.run("python", "-c", code).strip() == "0123abcd"


def test_the_steps_make_a_training_set_of_the_sample(steps, prepared):
    assert int(prepared["rows"]) > 1000
    assert (steps.shared / "retrieve-training-set/training_set").stat().st_size > 10_000


def test_training_writes_a_model_and_finds_the_search_space(training, model):
    assert (model / "model.safetensors").is_file()
    code = "from components.training.tuning.experiment import experiment_file as file"
    assert training.run("python", "-c", f"{code}; print(file().is_file())").strip() == "True"


def test_the_predictor_serves_what_the_steps_exported(steps, predictor, spec, model):
    assert predictor.config["Healthcheck"]["Test"][0] == "CMD"
    inputs = {"model": model.name, "training_set": "retrieve-training-set/training_set"}
    run_step(steps, spec, "export-for-serving", {}, inputs)
    server = predictor.start(
        *predictor.config["Entrypoint"],
        *("--model-dir=/mnt/export-for-serving/exported", "--http-port=0"),
        "--port-file=/mnt/export-for-serving/port",
    )
    try:
        port_file = predictor.shared / "export-for-serving/port"
        until(lambda: port_file.is_file() or server.poll() is not None, 120)
        assert port_file.is_file(), server.communicate()[0]
        url = f"http://127.0.0.1:{port_file.read_text().strip()}/v1/models/{MODEL}:predict"
        asked = {"instances": [{"review_body": "lovely soft dress"}]}
        (prediction,) = httpx.post(url, json=asked, timeout=60).json()["predictions"]
        assert set(prediction["probabilities"]) == {"negative", "neutral", "positive"}
    finally:
        server.terminate()
        server.communicate(timeout=60)
