import re

from components.deployment.kserve.inference_service import RUNTIME
from components.shared.kubernetes import namespace_objects as ours
from components.shared.machine import images
from pipelines.running.step_settings import CONFIG_KEYS, MLFLOW_LOGIN_KEYS, SECRET_KEYS
from tests.manifests.conftest import (
    MANIFESTS,
    build,
    containers_of,
    named,
    pods_of,
    variables_of,
    write_kustomization,
)

SECRETS = {
    ours.FEATURE_STORE_SECRET: set(SECRET_KEYS),
    "review-sentiment-mlflow": set(SECRET_KEYS),
    "review-sentiment-postgres": {"POSTGRES_PASSWORD"},
    "review-sentiment-object-store": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "review-sentiment-feast-operator": {"sql", "postgres"},
    ours.MLFLOW_LOGIN_SECRET: {*MLFLOW_LOGIN_KEYS, "MLFLOW_FLASK_SERVER_SECRET_KEY"},
    ours.REVIEW_SECRET: {
        *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"),
        *("LABEL_STUDIO_URL", "LABEL_STUDIO_TOKEN", "REVIEW_PASSWORD", "SECRET_KEY"),
    },
    ours.DATA_SECRET: {"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
}
"""Secrets that a user makes, and their keys; manifests/README.md has the commands."""

FOLDERS = ("FEATURE_STORE_DIR", "CATALOGUE_WAREHOUSE", "CHECKPOINT_DIR", "HF_HOME")


def test_objects_have_the_names_that_the_code_uses(overlay):
    for kind, name in [
        ("ServiceAccount", ours.SERVICE_ACCOUNT),
        ("ServiceAccount", ours.PREDICTOR_SERVICE_ACCOUNT),
        ("ConfigMap", ours.CONFIG_MAP),
        ("PersistentVolumeClaim", ours.STATE_CLAIM),
        ("TrainingRuntime", ours.TRAINING_RUNTIME),
        ("ServingRuntime", RUNTIME),
    ]:
        assert named(overlay, kind, name)["metadata"]["labels"][ours.PART_OF_LABEL] == ours.PART_OF
    claim = named(overlay, "PersistentVolumeClaim", ours.STATE_CLAIM)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_steps_find_their_environment(overlay):
    data = named(overlay, "ConfigMap", ours.CONFIG_MAP)["data"]
    assert set(data) == set(CONFIG_KEYS)
    assert data[ours.STATE_VARIABLE] == ours.STATE_PATH
    assert data["TUNING_BACKEND"] == "katib"
    services = {o["metadata"]["name"] for o in overlay if o["kind"] == "Service"}
    assert re.fullmatch(r"http://(.+):5000", data["MLFLOW_TRACKING_URI"]).group(1) in services
    for folder in FOLDERS:
        assert data[folder].startswith(f"{ours.STATE_PATH}/")


def test_the_job_makes_the_folders_of_the_volume(overlay):
    data = named(overlay, "ConfigMap", ours.CONFIG_MAP)["data"]
    ((_, pod),) = pods_of(named(overlay, "Job"))
    made = set(pod["containers"][0]["command"])
    assert {data[key] for key in FOLDERS} <= made


def test_objects_that_a_pod_references_exist(objects):
    # A root of its own is applied beside an overlay.
    there = (*objects, *build(MANIFESTS / "overlays" / "gpu"))
    found = {(o["kind"], o["metadata"]["name"]): o for o in there}
    for manifest in objects:
        for _, pod in pods_of(manifest):
            volumes = pod.get("volumes") or []
            maps = [volume["configMap"] for volume in volumes if "configMap" in volume]
            wanted = [("ConfigMap", one["name"]) for one in maps if not one.get("optional")]
            claims = [v["persistentVolumeClaim"] for v in volumes if "persistentVolumeClaim" in v]
            wanted += [("PersistentVolumeClaim", claim["claimName"]) for claim in claims]
            fields = {"PriorityClass": "priorityClassName", "ServiceAccount": "serviceAccountName"}
            wanted += [(kind, pod[field]) for kind, field in fields.items() if field in pod]
            assert set(wanted) <= set(found)
            mounts = [m["name"] for c in pod["containers"] for m in c.get("volumeMounts") or []]
            assert set(mounts) == {volume["name"] for volume in volumes}
            for container in pod["containers"]:
                for kind, name, key in variables_of(container):
                    keys = SECRETS[name] if kind == "Secret" else found[kind, name].get("data")
                    assert not key or key in keys


def test_every_secret_is_a_reference_and_documented(objects):
    assert not [o for o in objects if o["kind"] == "Secret"]
    readme = (MANIFESTS / "README.md").read_text()
    named_here = set(re.findall(r"'secretRef': {'name': '([^']+)'", str(objects)))
    named_here |= {s["name"] for o in objects for s in o.get("secrets") or []}
    assert named_here <= set(SECRETS)
    for secret, keys in SECRETS.items():
        assert f"create secret generic {secret}" in readme
        assert all(key in readme for key in keys)


def test_no_variable_that_looks_like_a_secret_has_a_value(objects):
    secret = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY", re.I)
    for manifest in objects:
        for key, value in (manifest.get("data") or {}).items():
            assert not secret.search(key)
            assert not re.search("://[^/]*:[^/]*@", value)
        variables = [v for c in containers_of(manifest) for v in c.get("env") or []]
        assert not [v for v in variables if secret.search(v["name"]) and "value" in v]


def test_every_image_is_pinned_and_one_that_is_built(objects):
    built = {images.step_image(), images.training_image(1), images.predictor_image()}
    built.add(images.step_image().replace("/steps:", "/review:"))
    for image in {container["image"] for o in objects for container in containers_of(o)}:
        assert re.search(r":\d[\w.-]+$|@sha256:[0-9a-f]{64}$", image), image
        assert image in built or image.startswith("docker.io/library/postgres:")


def test_images_are_named_in_one_place(tmp_path):
    """The component reaches every pod, also those within custom kinds."""
    names = re.findall(r"name: (\S+)", (MANIFESTS / "images" / "kustomization.yaml").read_text())
    changed = [{"name": n, "newName": f"here/{i}", "newTag": "1"} for i, n in enumerate(names)]
    built = build(write_kustomization(tmp_path, "gpu", ["label-studio"], images=changed))
    used = {container["image"] for o in built for container in containers_of(o)}
    assert used == {f"here/{n}:1" for n in range(len(names))}


def test_training_gives_way_to_serving(overlay):
    values = {o["metadata"]["name"]: o for o in overlay if o["kind"] == "PriorityClass"}
    serving, training = (values[f"review-sentiment-{name}"] for name in ("serving", "training"))
    assert training["value"] < 0 < serving["value"]
    assert training["preemptionPolicy"] == "Never"
    ((_, pod),) = pods_of(named(overlay, "TrainingRuntime"))
    assert pod["priorityClassName"] == training["metadata"]["name"]
