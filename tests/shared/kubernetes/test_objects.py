from dataclasses import replace

import pytest

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.objects import contains
from components.shared.kubernetes.refusals import Conflict
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import conditions, container, service
from tests.stand_ins.api_server import Refused, kubeconfig

REFUSES, KIND = "refuses InferenceService reviews", "inferenceservices.serving.kserve.io"


def test_an_object_is_created_read_patched_and_deleted(cluster):
    objects = cluster.objects
    assert objects.read("reviews") is None
    made = objects.create(service())
    assert objects.read("reviews") == made
    change = {"metadata": {"annotations": {"note": None}}, "spec": {"predictor": {"name": "v4"}}}
    patched = objects.patch("reviews", change, made["metadata"]["resourceVersion"])
    assert "note" not in patched["metadata"]["annotations"]
    assert patched["spec"]["predictor"]["name"] == "v4"
    assert patched["spec"]["predictor"]["model"] == made["spec"]["predictor"]["model"]
    objects.delete("reviews")
    objects.delete("reviews")
    assert objects.read("reviews") is None
    assert cluster.time.slept == []


def test_a_dry_run_asks_for_everything_and_creates_nothing(cluster):
    made = cluster.objects.dry_run(service())
    assert made["spec"] == service()["spec"]
    assert cluster.objects.read("reviews") is None
    cluster.kept.webhook = lambda found: "no such runtime"
    with pytest.raises(UserError, match=r"refuses InferenceService reviews .*no such runtime"):
        cluster.objects.dry_run(service())
    cluster.kept.webhook = lambda found: ""
    cluster.objects.create(service())
    with pytest.raises(Conflict):
        cluster.objects.dry_run(service())
    assert cluster.kept.uids == 1


def test_a_patch_of_an_object_that_changed_or_went_is_a_conflict(cluster):
    made = cluster.objects.create(service())
    version = made["metadata"]["resourceVersion"]
    cluster.kept.patch("reviews", {"metadata": {"annotations": {"note": "someone"}}})
    with pytest.raises(Conflict):
        cluster.objects.patch("reviews", {"spec": {"predictor": {"name": "v4"}}}, version)
    assert cluster.kept.read("reviews")["metadata"]["annotations"]["note"] == "someone"
    assert "name" not in cluster.kept.read("reviews")["spec"]["predictor"]
    cluster.kept.delete("reviews")
    with pytest.raises(Conflict):
        cluster.objects.patch("reviews", {"spec": {"predictor": {"name": "v4"}}}, version)


def test_a_creation_without_an_answer_is_not_taken_for_someone_elses(cluster):
    def someone(method, path):
        if method == "POST":
            cluster.kept.create(service(version="9"))

    cluster.api.plant("POST", 500)
    cluster.api.before = someone
    with pytest.raises(Conflict):
        cluster.objects.create(service())


def test_what_is_there_is_adopted_only_if_it_is_what_was_wanted(cluster):
    made = cluster.objects.create(service())
    assert cluster.objects.create_or_adopt(service()) == made
    with pytest.raises(Conflict):
        cluster.objects.create_or_adopt(service(version="4"))
    with pytest.raises(Conflict):
        cluster.objects.create(service())
    assert cluster.kept.read("reviews") == made


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, "drop", "lost"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_passing_fault_is_waited_out_and_done_once(cluster, method, fault):
    objects, kept = cluster.objects, cluster.kept
    made = kept.create(service()) if method != "POST" else None
    cluster.api.plant(method, fault)
    match method:
        case "GET":
            assert objects.read("reviews") == made
        case "POST":
            assert objects.create(service()) == kept.read("reviews")
            assert kept.uids == 1
        case "PATCH":
            change = {"spec": {"predictor": {"name": "v4"}}}
            version = made["metadata"]["resourceVersion"]
            if fault == "lost":
                # It was done: the repetition finds another resourceVersion.
                with pytest.raises(Conflict):
                    objects.patch("reviews", change, version)
            else:
                objects.patch("reviews", change, version)
            assert kept.read("reviews")["spec"]["predictor"]["name"] == "v4"
            assert int(kept.read("reviews")["metadata"]["resourceVersion"]) == int(version) + 1
        case "DELETE":
            objects.delete("reviews")
            assert kept.found == {}
    assert len(cluster.time.slept) == 1


def test_pauses_grow_retry_after_is_obeyed_and_retries_end_in_time(cluster):
    cluster.api.plant("GET", 503, *range(1, 7))
    assert cluster.objects.read("reviews") is None
    assert cluster.time.slept == [0.5, 1, 2, 4, 8, 10]
    cluster.time.slept.clear()
    cluster.api.retry_after = 7
    cluster.api.plant("GET", 429)
    assert cluster.objects.read("reviews") is None
    assert cluster.time.slept == [7]
    cluster.time.slept.clear()
    cluster.api.retry_after = None
    cluster.api.plant("GET", 503, *range(1, 50))
    with pytest.raises(UserError, match=r"answered 503 to get inferenceservices reviews.*again"):
        cluster.objects.read("reviews")
    assert sum(cluster.time.slept) < 30
    cluster.api.retry_after = 1000
    with pytest.raises(UserError, match="503"):
        cluster.objects.read("reviews")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((401, "Unauthorized", "no"), "does not accept the credentials"),
        ((403, "Forbidden", 'User "bot" cannot create resource'), f"bot may not create {KIND} in"),
        ((403, "Forbidden", "violates PodSecurity"), f"{REFUSES} in .*: violates PodSecurity"),
        (
            (403, "Forbidden", "exceeded quota: pods"),
            "reviews has no quota left: exceeded quota: p",
        ),
        ((403, "Forbidden", "admission webhook x denied"), f"{REFUSES} in .*: admission webhook x"),
        ((422, "Invalid", "spec.y unknown"), f"{REFUSES} .*spec.y unknown"),
    ],
)
def test_a_refusal_is_reported_at_once_in_words(cluster, refusal, words):
    cluster.api.plant("POST", Refused(*refusal))
    with pytest.raises(UserError, match=words):
        cluster.objects.create(service())
    assert cluster.time.slept == []


def test_a_webhook_that_does_not_answer_is_reported_after_a_while(cluster):
    refusal = Refused(500, "InternalError", 'failed calling webhook "v.kserve": no endpoints')
    cluster.api.plant("POST", refusal, *range(1, 50))
    with pytest.raises(UserError, match=r"cannot ask its webhook .*whether the pods of KServe run"):
        cluster.objects.create(service())
    assert 10 < sum(cluster.time.slept) < 30


def test_a_missing_kind_namespace_and_object_are_reported_apart(cluster):
    with pytest.raises(UserError, match="there is no namespace elsewhere in the cluster"):
        replace(cluster.objects, namespace="elsewhere").create(service())
    assert cluster.objects.read("reviews") is None
    cluster.api.known.clear()
    with pytest.raises(UserError, match=r"not serve inferenceservices.serving.*install KServe"):
        cluster.objects.read("reviews")
    with pytest.raises(UserError, match="install KServe"):
        cluster.objects.patch("reviews", {}, "1")
    assert cluster.time.slept == []


def test_a_cluster_that_is_not_there_is_reported_after_a_while(cluster, tmp_path):
    (tmp_path / "nowhere").mkdir()
    client, _ = connect(kubeconfig=kubeconfig(tmp_path / "nowhere", "http://127.0.0.1:9"))
    with pytest.raises(UserError, match=r"at http://127.0.0.1:9 cannot be reached"):
        replace(cluster.objects, client=client).read("reviews")
    assert 10 < sum(cluster.time.slept) < 30


def event(about, reason, message, **more):
    said = {"metadata": {"name": "e"}, "reason": reason, "message": message}
    return {**said, "involvedObject": {"name": about}, **more}


def test_a_wait_in_vain_explains(cluster):
    cluster.objects.create(service())
    said = conditions(Ready=False, IngressReady=True)
    said["conditions"][0] |= {"reason": "Pods", "message": "not up"}
    cluster.kept.set_status("reviews", **said)
    looping = {"reason": "CrashLoopBackOff", "message": "back-off"}
    failing = container("kserve-container", waiting=looping) | {"restartCount": 2}
    failing["lastState"] = {"terminated": {"exitCode": 3}}
    no_image = {"reason": "ImagePullBackOff", "message": "no such image"}
    unpullable = container("sidecar", waiting=no_image)
    metadata = {"name": "reviews-pod-1", "namespace": "reviews"}
    status = {"containerStatuses": [failing, unpullable]}
    cluster.api.pods = [{"metadata": metadata, "status": status}]
    cluster.api.logs["reviews-pod-1"] = "loading\ncannot read model.safetensors\n"
    cluster.api.events = [
        event("reviews", "InternalError", "no runtime"),
        event("reviews-pod-1", "BackOff", "restarting"),
    ]
    with pytest.raises(UserError) as raised:
        cluster.objects.wait("reviews", lambda found: False, 10)
    text = str(raised.value)
    assert text.startswith("InferenceService reviews did not get there within 10 s: ")
    for words in (
        "Ready is False (Pods: not up)",
        "event InternalError of reviews: no runtime",
        "event BackOff of reviews-pod-1: restarting",
        "container kserve-container of pod reviews-pod-1 is CrashLoopBackOff, its last lines: "
        "loading | cannot read model.safetensors",
        "container sidecar of pod reviews-pod-1 is ImagePullBackOff: no such image",
    ):
        assert words in text
    assert "IngressReady" not in text


def test_the_last_warnings_are_reported_by_their_time(cluster):
    cluster.objects.create(service())
    cluster.api.events = [
        event("reviews-1", "BackOff", str(hour), lastTimestamp=f"2026-01-01T{hour:02}:00:00Z")
        for hour in (7, 3, 3, 1, 9, 5, 8)
    ]
    said = [f"event BackOff of reviews-1: {hour}" for hour in (3, 5, 7, 8, 9)]
    assert cluster.objects.explain("reviews") == "; ".join(["it has no pods", *said])


def test_what_cannot_be_read_is_said(cluster):
    cluster.objects.create(service())
    cluster.api.plant("GET", Refused(403, "Forbidden", "no"), 2)
    cluster.api.plant("GET", "drop", 3)
    text = cluster.objects.explain("reviews")
    assert "its pods cannot be read (403)" in text
    assert "its events cannot be read (" in text
    assert cluster.objects.explain("nobody") == "nobody does not exist"


def test_what_contains_means():
    found = {"a": 1, "b": {"c": [{"d": 1, "e": 2}], "f": 3}}
    assert contains(found, {"b": {"c": [{"d": 1}]}})
    for other in ({"b": {"c": [{"d": 2}]}}, {"b": {"c": []}}, {"g": None}):
        assert not contains(found, other)
