import fcntl
from contextlib import contextmanager
from dataclasses import replace

import pytest

from components.deployment import serving_place as subject
from components.deployment.judging.confidence_sequence import Pairs
from components.deployment.judging.observation_sources import PrometheusServer
from components.deployment.judging.observations import NotObserved
from components.deployment.judging.paired_labels import PairedLabels
from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.local.local_store import FileServiceStore
from components.deployment.serving_place import ServingPlace, asker, serving_place
from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file, write_json

NAME = "review-sentiment"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch):
    for name in ("SERVING_SITE", "PROMETHEUS_URL"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def site(folder, monkeypatch):
    """What a site holds while it runs, and nothing more."""
    monkeypatch.setenv("SERVING_SITE", str(folder))
    lock = FileServiceStore(folder, NAME).site_folder / "site.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def test_a_site_that_does_not_run_is_said_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVING_SITE", str(tmp_path))
    with pytest.raises(UserError, match=f"nothing serves {NAME} from {tmp_path}; .*make site"):
        serving_place(NAME)
    with site(tmp_path, monkeypatch):
        assert serving_place(NAME).store.is_served()


def test_the_site_tells_where_each_version_answers(monkeypatch, tmp_path):
    with site(tmp_path, monkeypatch):
        place = serving_place(NAME)
        assert dict(place.addresses) == {}
        service = render_inference_service(NAME, "1", "file:///m/1", mode="Standard")
        uid = place.store.create(service)["metadata"]["uid"]
        targets = [
            {"revisionName": "1", "percent": 90, "url": "http://127.0.0.1:1"},
            {"revisionName": "2", "percent": 10, "url": "http://127.0.0.1:2"},
        ]
        place.store.write_status({"components": {"predictor": {"traffic": targets}}}, uid)
        # The status is read at each look: a server that was started again has another port.
        assert dict(place.addresses) == {"1": ["http://127.0.0.1:1"], "2": ["http://127.0.0.1:2"]}
        targets[0]["url"] = "http://127.0.0.1:3"
        place.store.write_status({"components": {"predictor": {"traffic": targets}}}, uid)
        assert place.addresses["1"] == ["http://127.0.0.1:3"]
        assert place.source.addresses is place.addresses
        with pytest.raises(KeyError):
            place.addresses["3"]
        assert len(place.addresses) == 2


def test_the_kept_folder_is_whole_and_named_by_version_and_weights(monkeypatch, tmp_path):
    model = tmp_path / "artifact"
    (model / "exported").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "exported" / "engine.xml").write_text("engine")
    with site(tmp_path / "site", monkeypatch):
        keep = serving_place(NAME).storage_uri
        uri = keep(model, "minio://bucket/model", "7")
        digest = sha256_of_file(model / "model.safetensors")[:12]
        kept = tmp_path / "site" / "models" / NAME / f"7-{digest}"
        assert uri == kept.as_uri()
        assert (kept / "model.safetensors").read_bytes() == b"weights"
        assert (kept / "exported" / "engine.xml").read_text() == "engine"
        # Servers read it: another run of the same version leaves it as it is.
        before = kept.stat().st_ino
        assert keep(model, "minio://bucket/another-run/model", "7") == uri
        assert kept.stat().st_ino == before
        (model / "model.safetensors").write_bytes(b"other weights")
        assert keep(model, "", "7") != uri
        # A copy that was broken off is no copy.
        monkeypatch.setattr(subject.shutil, "copytree", copy_that_breaks_off)
        with pytest.raises(OSError, match="disk is full"):
            keep(model, "", "8")
        monkeypatch.undo()
        assert not list(kept.parent.glob("8-*"))


def copy_that_breaks_off(source, target):
    target.mkdir()
    raise OSError("disk is full")


def test_a_cluster_without_prometheus_cannot_watch_a_canary():
    with pytest.raises(UserError, match="without Prometheus; set PROMETHEUS_URL, in a cluster"):
        serving_place(NAME)


def test_a_cluster_is_seen_through_prometheus(monkeypatch):
    from components.deployment.kserve import kserve_store

    asked = []

    def connect(name, *, namespace):
        asked.append((name, namespace))
        return "the store"

    monkeypatch.setattr(kserve_store.KServeStore, "connect", connect)
    monkeypatch.setenv("PROMETHEUS_URL", "http://prometheus:9090")
    place = serving_place(NAME, "reviews")
    assert place.store == "the store"
    assert asked == [(NAME, "reviews")]
    assert isinstance(place.source, PrometheusServer)
    assert (place.source.url, place.source.model_name) == ("http://prometheus:9090", NAME)
    assert dict(place.addresses) == {}
    assert place.storage_uri("/x", "minio://bucket/m", "4").endswith("bucket/m")


def test_an_address_of_a_cluster_that_is_empty_counts_as_none(monkeypatch):
    monkeypatch.setenv("SERVING_SITE", "")
    monkeypatch.setenv("PROMETHEUS_URL", "")
    with pytest.raises(UserError, match="without Prometheus"):
        serving_place(NAME)


class Reviews:
    """Stands for the servers that are asked; breaks off where it is told to.

    Attributes:
        asked: (stable, canary, first, count) of each call.
    """

    def __init__(self, known=100):
        self.known, self.asked, self.fails, self.seconds = known, [], 0, 0.0
        self.now = 0.0

    def ask(self, labelled, stable, canary, *, first=0, count=512):
        self.asked.append((stable.url, canary.url, first, count))
        self.now += self.seconds
        if self.fails:
            self.fails -= 1
            raise NotObserved("no answer")
        some = max(0, min(count, self.known - first))
        return PairedLabels(*(("positive",) * some for _ in range(3)))


@pytest.fixture
def reviews(monkeypatch):
    made = Reviews()
    monkeypatch.setattr(subject, "ask_labelled_reviews", made.ask)
    monkeypatch.setattr(subject.time, "monotonic", lambda: made.now)
    return made


PLACE = ServingPlace(
    store=None,
    source=None,
    addresses={"1": ["http://one", "http://another"], "2": ["http://two"], "3": []},
    storage_uri=lambda *_: "",
)


def right(count):
    return Pairs(both_right=count, only_first=0, only_second=0, of=count)


def test_reviews_are_asked_once(reviews):
    pairs = asker(PLACE, "labelled.parquet", NAME, 80)
    assert pairs("1", "2") == right(80)
    assert {(one, two) for one, two, *_ in reviews.asked} == {("http://one", "http://two")}
    assert [first for *_, first, _ in reviews.asked] == [0, 32, 64]
    assert sum(count for *_, count in reviews.asked) == 80
    questions = len(reviews.asked)
    assert pairs("1", "2") == right(80)
    assert len(reviews.asked) == questions
    assert pairs("2", "1") == right(80)
    assert len(reviews.asked) == 2 * questions


def test_fewer_reviews_than_wanted_are_all_asked(reviews):
    reviews.known = 40
    assert asker(PLACE, "labelled.parquet", NAME, 512)("1", "2") == right(40)
    reviews.known = 0
    assert asker(PLACE, "labelled.parquet", NAME, 512)("1", "2") is None


def test_a_slow_version_is_asked_for_a_while_only(reviews):
    reviews.seconds = 12.0
    pairs = asker(PLACE, "labelled.parquet", NAME, 512)
    assert pairs("1", "2") == right(96)
    assert pairs("1", "2") == right(96)
    assert len(reviews.asked) == 3


def test_questions_without_an_answer_are_asked_again_where_they_broke_off(reviews):
    pairs = asker(PLACE, "labelled.parquet", NAME, 64)
    reviews.fails = 1
    with pytest.raises(NotObserved):
        pairs("1", "2")
    assert pairs("1", "2") == right(64)
    assert [first for *_, first, _ in reviews.asked] == [0, 0, 32]


@pytest.mark.parametrize(("versions", "count"), [(("1", "2"), 0), (("1", "3"), 9), (("4", "2"), 9)])
def test_without_addresses_or_questions_nothing_is_asked(reviews, versions, count):
    assert asker(PLACE, "labelled.parquet", NAME, count)(*versions) is None
    assert asker(replace(PLACE, addresses={}), "l.parquet", NAME, 9)("1", "2") is None
    assert reviews.asked == []


def test_a_site_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with site("state", monkeypatch):
        write_json(tmp_path / "model" / "x.json", {})
        (tmp_path / "model" / "model.safetensors").write_bytes(b"w")
        uri = serving_place(NAME).storage_uri(tmp_path / "model", "", "1")
        assert uri.startswith((tmp_path / "state" / "models").as_uri())
