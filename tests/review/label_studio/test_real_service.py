"""Our client against a real Label Studio: what a stand-in could be wrong about."""

import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from components.review.label_studio.client import LabelStudio, Sent, connect
from components.review.label_studio.process import Service, label_studio
from components.review.label_studio.reviewers import Cast, cast_votes, emails
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.votes import keep_votes
from tests.review.label_studio.conftest import ANNA, BO, ITEMS, PASSWORD, unused_port

pytestmark = pytest.mark.slow

KEY = b"a key of sixteen or more"


def test_sent_twice_makes_no_doubles_and_what_is_missing_is_sent(world):
    assert world.client.send(world.project, ITEMS) == Sent(0, 12, {})
    more = [*ITEMS, {"item_id": "r99", "review_body": "one more", "title": None}]
    assert world.client.send(world.project, more) == Sent(1, 12, {})
    assert world.client.delete(["r99", "unknown"]) == 1
    assert world.client.delete(["r99"]) == 0
    assert world.client.item_ids(world.project) == {item["item_id"] for item in ITEMS}


def test_the_project_is_found_again_and_follows_its_settings(world):
    assert world.client.ensure_project(SENTIMENTS, 2) == world.project
    twenty = LabelSet.parse(" ".join(f"class-{n}" for n in range(20)))
    other = world.client.ensure_project(twenty, 1, "adjudication")
    assert other != world.project
    assert world.client.ensure_project(twenty, 4, "adjudication") == other
    with world.administrator as administrator:
        assert administrator.get(f"/api/projects/{other}").json()["maximum_annotations"] == 4
        administrator.delete(f"/api/projects/{other}")


def test_votes_deleted_changed_and_contradictory_are_kept_in_the_journal(world, tmp_path):
    def poll(hours):
        seen = world.client.read_votes(world.project)
        there = world.client.item_ids(world.project)
        when = datetime.now(UTC) + timedelta(hours=hours)
        return keep_votes(tmp_path, seen, there, KEY, when).to_pylist()

    first = world.vote(world.anna, "r6", "1")
    world.vote(world.anna, "r6", "-1")
    gone = world.vote(world.bo, "r6", "0")
    world.vote(world.bo, "r7", "nonsense")
    labels = [(row["item_id"], row["label"]) for row in poll(0)]
    assert sorted(labels) == [
        *(("r6", "negative"), ("r6", "neutral"), ("r6", "positive")),
        ("r7", "nonsense"),
    ]
    with world.administrator as administrator:
        assert administrator.delete(f"/api/annotations/{gone}").status_code == 204
        body = {"result": [], "was_cancelled": True}
        assert administrator.patch(f"/api/annotations/{first}", json=body).is_success
    events = {(row["event"], row["label"]) for row in poll(1)}
    assert events == {("vanished", "neutral"), ("changed", "")}
    assert poll(2) == []
    people = {vote.person for vote in world.client.read_votes(world.project)}
    assert people == {ANNA, BO}


def test_a_share_of_simulated_votes_goes_one_by_one_and_none_twice(world):
    items = [{"item_id": f"loop-{n}", "review_body": f"text {n}"} for n in range(20)]
    people = list(emails(3))
    votes = {item["item_id"]: dict.fromkeys(people, "neutral") for item in items}
    labels = LabelSet.parse("negative=1 neutral=2 positive=3")
    cast = [
        cast_votes(world.client, labels, items, votes, password=PASSWORD, share=0.2)
        for _ in range(2)
    ]
    assert cast == [Cast(by_calls=12, in_bulk=48), Cast(0, 0)]
    project = world.client.ensure_project(labels, 3)
    read = {(v.item_id, v.person, v.label) for v in world.client.read_votes(project)}
    assert read == {(item, person, "neutral") for item in votes for person in people}


def test_a_wrong_token_is_one_sentence(world):
    with pytest.raises(UserError, match="does not accept the token; "):
        LabelStudio(world.client.url, "f" * 40).wait()
    with pytest.raises(UserError, match="does not accept the token; "):
        LabelStudio(world.client.url, "a.b.c").wait()


def test_a_personal_token_is_taken(world):
    with world.administrator as administrator:
        made = administrator.post("/api/token/", json={})
    client = LabelStudio(world.client.url, made.json()["token"])
    client.wait()
    client._to._access = "an old one"
    assert client.ensure_project(SENTIMENTS, 2) == world.project


def cut_off_the_first_start(state):
    """Kill the process while it makes its tables, of which some are no transaction."""
    draft = Service(state).folder / "label_studio.sqlite3.new"

    def kill():
        while not (draft.exists() and draft.stat().st_size):
            time.sleep(0.01)
        time.sleep(0.5)
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("LABEL_STUDIO_BASE_DATA_DIR") == str(
                Service(state).folder
            ):
                process.kill()

    threading.Thread(target=kill).start()
    with pytest.raises(UserError, match="did not start"):
        label_studio(state, port=unused_port()).__enter__()
    assert draft.exists()


def test_killed_in_the_middle_of_sending_it_goes_on_and_nothing_is_doubled(
    label_studio_venv, tmp_path, monkeypatch
):
    monkeypatch.setattr("components.review.label_studio.client._CHUNK", 20)
    monkeypatch.delenv("REVIEW_DIR", raising=False)
    items = [{"item_id": f"i{n}", "review_body": "text " * 50} for n in range(500)]
    sent, threads = [], []
    cut_off_the_first_start(tmp_path)

    def send(client, project):
        sent.append(client.send(project, items))

    def kill_while_sending():
        with label_studio(tmp_path, port=unused_port()) as service:
            client = connect(tmp_path, patience=600)
            threads.append(
                threading.Thread(target=send, args=(client, client.ensure_project(SENTIMENTS)))
            )
            threads[0].start()
            while len(connect(tmp_path).tasks(1)) < 60:
                pass
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()

    with pytest.raises(UserError, match="ended by itself"):
        kill_while_sending()
    assert not sent
    with label_studio(tmp_path, port=int(connect(tmp_path).url.rpartition(":")[2])):
        threads[0].join(600)
        (done,) = sent
        assert (done.sent, done.there_already) == (500, 0)
        client = connect(tmp_path)
        tasks = [item for _, item in client._tasks(client.ensure_project(SENTIMENTS))]
        assert sorted(tasks) == sorted(item["item_id"] for item in items)
