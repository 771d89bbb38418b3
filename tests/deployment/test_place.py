import fcntl
from contextlib import contextmanager

import pytest

from components.deployment import place as subject
from components.deployment.judging.observations import PrometheusServer
from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.kserve.service import KServeService
from components.deployment.local.local_service import LocalService
from components.deployment.place import serving_place
from components.deployment.service import Candidate
from components.shared.machine.errors import UserError
from components.shared.records.file_list import folder_digest

NAME = "review-sentiment"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch):
    for name in ("SERVING_SITE", "PROMETHEUS_URL"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def site(folder, monkeypatch):
    """What a site holds while it runs, and nothing more."""
    monkeypatch.setenv("SERVING_SITE", str(folder))
    lock = folder / NAME / "site.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def test_a_site_that_does_not_run_is_said_with_the_remedy(monkeypatch, tmp_path, model_folder):
    monkeypatch.setenv("SERVING_SITE", str(tmp_path))
    with pytest.raises(UserError, match=f"nothing serves {NAME} from {tmp_path}; .*make site"):
        serving_place(NAME, "4", model_folder, "")


def test_one_machine_is_seen_through_its_servers(monkeypatch, tmp_path, model_folder):
    with site(tmp_path / "site", monkeypatch):
        settings = {"payload_uri": "/log", "server_arguments": ["--batch-reviews=4"]}
        place = serving_place(NAME, "4", model_folder, "minio://b/m", service=settings)
        assert isinstance(place.service, LocalService)
        assert place.service.server_arguments == ("--batch-reviews=4", "--payload-log=/log")
        digest = folder_digest(model_folder)
        assert place.service.candidate == Candidate("4", model_folder, "minio://b/m", digest)
        assert (place.mode, place.payload_uri) == ("Standard", "/log")
        assert (place.url(), place.addresses(), place.source.addresses()) == ("", {}, {})
        with pytest.raises(UserError, match="one machine serves in Standard mode only"):
            serving_place(NAME, "4", model_folder, "", "Knative")


def test_a_cluster_without_prometheus_cannot_watch_a_canary(monkeypatch, model_folder):
    for name in ("unrelated", "SERVING_SITE", "PROMETHEUS_URL"):
        monkeypatch.setenv(name, "")
        with pytest.raises(UserError, match="without Prometheus; set PROMETHEUS_URL, in a clu"):
            serving_place(NAME, "4", model_folder, "")


def test_a_cluster_is_seen_through_prometheus(monkeypatch, model_folder):
    objects = {}

    class Objects:
        def __init__(self, namespace):
            self.namespace = namespace

        def read(self, name):
            return objects.get(name)

    monkeypatch.setattr(subject, "inference_services", Objects)
    monkeypatch.setenv("PROMETHEUS_URL", "http://prometheus:9090")
    place = serving_place(NAME, "4", model_folder, "minio://b/m", "Knative", {"cpu": 4}, "there")
    service = place.service
    assert isinstance(service, KServeService)
    assert (service.objects.namespace, service.name, service.mode) == ("there", NAME, "Knative")
    assert service.settings == ServiceSettings(cpu="4")
    digest = folder_digest(model_folder)
    assert service.candidate == Candidate("4", model_folder, "s3://b/m", digest)
    assert isinstance(place.source, PrometheusServer)
    assert (place.source.url, place.source.model_name) == ("http://prometheus:9090", NAME)
    assert (place.addresses(), place.url()) == ({}, "")
    objects[NAME] = {"status": {"url": "http://reviews.example.org"}}
    assert place.url() == "http://reviews.example.org"


def test_what_cannot_be_served_is_refused_before_a_place_is_sought(model_folder):
    with pytest.raises(UserError, match="there is no service setting replicas"):
        serving_place(NAME, "4", model_folder, "", service={"replicas": 1})
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        serving_place(NAME, "4", model_folder, "")
