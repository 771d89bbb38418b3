import fcntl
import threading
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deployment.kserve.service_store import Conflict
from components.deployment.local.local_store import (
    FileServiceStore,
    check_service,
    merge_patch,
    server_addresses,
)
from components.shared.machine.errors import UserError

NAME = "review-sentiment"


def service(**spec):
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "annotations": {"a": "1", "b": "2"}},
        "spec": {"predictor": {"model": {"storageUri": "file:///m/1"}}, **spec},
    }


def canary(name="v2", percent=10, **more):
    return {"trafficPercent": percent, "predictor": {"name": name, "model": {}, **more}}


@pytest.fixture
def store(tmp_path):
    return FileServiceStore(tmp_path / "state", NAME)


def version_of(kept):
    return kept["metadata"]["resourceVersion"]


# The examples of RFC 7386, appendix A: target, change, result.
RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "change", "result"), RFC_7386)
def test_a_merge_patch_does_what_the_rfc_says(target, change, result):
    assert merge_patch(target, change) == result


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values, values)
def test_a_merge_patch_leaves_its_arguments_and_changes_nothing_the_second_time(target, change):
    before = deepcopy((target, change))
    once = merge_patch(target, change)
    assert (target, change) == before
    assert merge_patch(once, change) == once


def test_an_object_is_created_once_and_read_back(store):
    assert store.read() is None
    kept = store.create({**service(), "status": {"url": "a lie"}})
    assert store.read() == kept
    assert "status" not in kept
    assert kept["metadata"]["generation"] == 1
    with pytest.raises(Conflict):
        store.create(service())
    with pytest.raises(UserError, match="keeps review-sentiment, not other"):
        store.create({**service(), "metadata": {"name": "other"}})


def test_a_patch_is_guarded_by_the_version_that_it_was_decided_on(store):
    first = store.create(service())
    second = store.patch({"metadata": {"annotations": {"a": None}}}, version_of(first))
    assert second["metadata"]["annotations"] == {"b": "2"}
    assert int(version_of(second)) > int(version_of(first))
    with pytest.raises(Conflict):
        store.patch({"spec": {"canary": [canary()]}}, version_of(first))
    assert store.read() == second
    store.delete()
    store.delete()
    with pytest.raises(Conflict):
        store.patch({}, version_of(second))
    # An object of the same name is another object.
    assert int(version_of(store.create(service()))) > int(version_of(second))


def test_the_generation_counts_changes_of_the_spec_only(store):
    kept = store.create(service())
    kept = store.patch({"metadata": {"annotations": {"a": "3"}}}, version_of(kept))
    assert kept["metadata"]["generation"] == 1
    kept = store.patch({"spec": {"canary": [canary()]}}, version_of(kept))
    assert kept["metadata"]["generation"] == 2
    same = store.patch({"spec": {"canary": [canary()]}}, version_of(kept))
    assert same == kept
    kept = store.patch({"spec": {"canary": None}}, version_of(kept))
    assert "canary" not in kept["spec"]


def test_clients_write_no_status_and_no_identity(store):
    kept = store.create(service())
    change = {"status": {"url": "a lie"}, "metadata": {"uid": "x", "generation": 9, "name": "y"}}
    assert store.patch(change, version_of(kept)) == kept


def test_the_site_writes_the_status_of_the_object_that_it_saw(store):
    kept = store.create(service())
    told = store.write_status({"url": "http://here"}, kept["metadata"]["uid"])
    assert told["status"] == {"url": "http://here"}
    assert told["metadata"]["generation"] == 1
    assert int(version_of(told)) == int(version_of(kept)) + 1
    # A status that is no other gives no new version: it would make conflicts for nothing.
    assert store.write_status({"url": "http://here"}, kept["metadata"]["uid"]) == told
    assert store.write_status({}, "of another object") is None
    assert store.read() == told
    store.delete()
    assert store.write_status({}, kept["metadata"]["uid"]) is None
    assert store.read() is None


def test_of_many_changes_decided_on_one_version_one_wins(store, tmp_path):
    kept = store.create(service())
    won, lost = [], []

    def change(number):
        mine = FileServiceStore(tmp_path / "state", NAME)
        try:
            mine.patch({"metadata": {"annotations": {"a": str(number)}}}, version_of(kept))
            won.append(str(number))
        except Conflict:
            lost.append(number)

    threads = [threading.Thread(target=change, args=(n + 5,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert store.read()["metadata"]["annotations"]["a"] == won[0]


def test_no_change_is_lost_between_many_that_decide_anew(store, tmp_path):
    store.create(service())

    def add(number):
        mine = FileServiceStore(tmp_path / "state", NAME)
        while True:
            now = mine.read()
            try:
                return mine.patch(
                    {"metadata": {"annotations": {f"n{number}": "x"}}}, version_of(now)
                )
            except Conflict:
                continue

    threads = [threading.Thread(target=add, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"n{n}" for n in range(6)} < set(store.read()["metadata"]["annotations"])


class Time:
    """A clock that runs by waiting only; `events` happen during the n-th wait."""

    def __init__(self, **events):
        self.now, self.waits, self.events = 0.0, 0, events

    def sleep(self, seconds):
        self.now += seconds
        self.waits += 1
        if event := self.events.get(f"wait_{self.waits}"):
            event()


def waiting(tmp_path, time):
    return FileServiceStore(tmp_path / "state", NAME, clock=lambda: time.now, sleep=time.sleep)


def test_wait_returns_the_object_that_has_come_to_the_state(store, tmp_path):
    kept = store.create(service())
    time = Time(wait_3=lambda: store.write_status({"ready": True}, kept["metadata"]["uid"]))
    asked = []

    def reached(now):
        asked.append(version_of(now))
        return "status" in now

    assert waiting(tmp_path, time).wait(reached, 60)["status"] == {"ready": True}
    assert time.waits == 3
    assert len(asked) == 2  # as it was, and after the one change


def test_wait_gives_up_with_the_reasons(store, tmp_path):
    kept = store.create(service())
    condition = {"type": "Ready", "status": "False", "reason": "Broken", "message": "no weights"}
    store.write_status({"conditions": [condition]}, kept["metadata"]["uid"])
    with pytest.raises(UserError, match=r"not as wanted within 5 s; .*Broken: no weights"):
        waiting(tmp_path, Time()).wait(lambda _: False, 5)


def test_wait_ends_when_the_object_is_gone_or_the_predicate_raises(store, tmp_path):
    store.create(service())
    with pytest.raises(UserError, match="is gone"):
        waiting(tmp_path, Time(wait_2=store.delete)).wait(lambda _: False, 60)
    store.create(service())
    with pytest.raises(ZeroDivisionError):
        store.wait(lambda _: 1 / 0, 60)


def test_explain_says_all_it_knows_and_never_raises(store):
    assert "there is no review-sentiment" in store.explain()
    kept = store.create(service())
    assert "no site runs; start python -m components.deployment.local.site" in store.explain()
    assert "no status yet" in store.explain()
    failed = {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"message": "the last words"},
    }
    store.write_status(
        {
            "conditions": [{"type": "Ready", "status": "True"}],
            "modelStatus": {**failed, "transitionStatus": "UpToDate"},
            "canaryStatuses": [
                {"name": "v2", "ready": False, "trafficPercent": 10, "modelStatus": failed}
            ],
        },
        kept["metadata"]["uid"],
    )
    told = store.explain()
    assert "Ready is True" in told
    assert "canary v2 is not ready at 10 %; canary v2 failed: the last words" in told
    assert "the predictor failed" not in told  # it is over
    store.path.write_text("{")
    assert "not valid JSON" in store.explain()


def test_a_running_site_is_known_by_its_lock(store):
    store.site_folder.mkdir(parents=True)
    assert not store.is_served()
    with (store.site_folder / "site.lock").open("wb") as lock:
        assert not store.is_served()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert store.is_served()
    assert not store.is_served()


REFUSED = [
    ({"canary": [canary(name="")]}, r"spec.canary\[0\] of .* has no predictor.name"),
    ({"canary": [canary(), canary()]}, r"canary\[1\] .* the predictor.name v2 of another"),
    ({"canary": [canary(percent=101)]}, "trafficPercent 101"),
    ({"canary": [canary(percent=-1)]}, "trafficPercent -1"),
    ({"canary": [canary(percent="10")]}, "trafficPercent '10'"),
    ({"canary": [canary("a", 60), canary("b", 60)]}, "take 120 %"),
    ({"canary": [canary(maxReplicas=2)]}, "sets maxReplicas"),
    ({"predictor": {}}, "no InferenceService with spec.predictor.model"),
]


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_what_kserve_refuses_is_refused_and_nothing_changes(store, spec, words):
    with pytest.raises(UserError, match=words):
        check_service(service(**spec))
    with pytest.raises(UserError, match=words):
        store.create(service(**spec))
    kept = store.create(service())
    change = {"spec": {"predictor": {"model": None}} if "predictor" in spec else spec}
    with pytest.raises(UserError, match=words):
        store.patch(change, version_of(kept))
    assert store.read() == kept


def test_one_machine_serves_in_mode_standard_only():
    knative = service()
    knative["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
    with pytest.raises(UserError, match="mode Standard only"):
        check_service(knative)


def test_the_addresses_of_the_versions_are_read_from_the_status():
    traffic = [
        {"tag": "stable", "revisionName": "1", "url": "http://127.0.0.1:1"},
        {"tag": "v2", "revisionName": "2", "url": "http://127.0.0.1:2"},
        {"tag": "again", "revisionName": "2", "url": "http://127.0.0.1:2"},
        {"tag": "v3", "revisionName": "3"},
    ]
    found = server_addresses({"status": {"components": {"predictor": {"traffic": traffic}}}})
    assert found == {"1": ["http://127.0.0.1:1"], "2": ["http://127.0.0.1:2"]}
    assert server_addresses({}) == {}
