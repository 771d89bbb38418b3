from datetime import UTC, datetime

import httpx
import pytest

from components.review.label_studio import client as clients
from components.review.label_studio.client import LabelStudio, Sent
from components.review.label_studio.tasks import clean
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from tests.stand_ins.label_studio import TOKEN, LabelStudioStandIn

ITEMS = [
    {
        **{"item_id": f"r{n}", "title": None, "review_body": f"text {n}", "queue": "audit"},
        **{"inclusion_probability": 0.25, "model_version": "3", "label": "positive"},
        **{"p_negative": 0.1, "given": "neutral", "product_category": "Dresses"},
    }
    for n in range(7)
]


@pytest.fixture
def service():
    return LabelStudioStandIn()


@pytest.fixture
def client(service, tmp_path):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    return LabelStudio(
        "http://reviews/",
        TOKEN,
        tmp_path / "sending.lock",
        **{"transport": service.transport, "clock": lambda: now[0], "sleep": sleep},
    )


def items_of(service):
    return sorted(task["data"]["item_id"] for task in service.tasks.values())


def test_a_task_says_what_is_to_be_read_and_nothing_that_a_model_said(service, client):
    client.send(client.ensure_project(SENTIMENTS, 3), ITEMS[:1])
    (task,) = service.tasks.values()
    assert task["data"] == {"item_id": "r0", "title": "", "review_body": "text 0"}
    wanted = {"queue": "audit", "inclusion_probability": 0.25, "model_version": "3"}
    assert task["meta"] == wanted


def test_the_project_is_made_once_and_follows_its_settings(service, client):
    first = client.ensure_project(SENTIMENTS, 2)
    assert client.ensure_project(SENTIMENTS, 2) == first
    assert len(service.projects) == 1
    assert "PATCH /api/projects/1" not in service.requests
    assert client.ensure_project(SENTIMENTS, 5) == first
    assert service.projects[first]["maximum_annotations"] == 5
    others = [
        client.ensure_project(LabelSet.parse("bad good"), 2),
        client.ensure_project(SENTIMENTS, 2, "adjudication"),
        client.ensure_project(LabelSet.parse("bad good"), 2, "adjudication"),
    ]
    assert len({first, *others}) == len(service.projects) == 4
    assert service.projects[others[1]]["title"] == "Adjudication: negative, neutral, positive"


def test_sent_twice_makes_no_doubles(service, client, monkeypatch):
    monkeypatch.setattr(clients, "_LIST_PAGE", 3)
    monkeypatch.setattr(clients, "_CHUNK", 2)
    project = client.ensure_project(SENTIMENTS)
    assert client.send(project, ITEMS[:4]) == Sent(4, 0, {})
    assert client.send(project, ITEMS) == Sent(3, 4, {})
    assert client.send(project, ITEMS) == Sent(0, 7, {})
    assert items_of(service) == [f"r{n}" for n in range(7)]


@pytest.mark.parametrize("fault", [httpx.ReadTimeout, httpx.ConnectError, 500, 503])
@pytest.mark.parametrize("carried_out", [True, False])
def test_an_answer_lost_in_the_middle_of_sending_loses_and_doubles_nothing(
    service, client, monkeypatch, fault, carried_out
):
    monkeypatch.setattr(clients, "_CHUNK", 3)
    project = client.ensure_project(SENTIMENTS)
    # Two lists, one import that goes well, and one whose answer is lost.
    (service.after if carried_out else service.faults)[:] = [None, None, None, fault]
    assert client.send(project, ITEMS) == Sent(7, 0, {})
    assert items_of(service) == [f"r{n}" for n in range(7)]


def test_a_double_of_a_sender_that_was_cut_off_is_deleted(service, client):
    project = client.ensure_project(SENTIMENTS)
    client.send(project, ITEMS[:2])
    first, _ = sorted(service.tasks)
    service.tasks[999_999_999] = dict(service.tasks[first])
    assert client.send(project, ITEMS[:3]) == Sent(1, 2, {})
    assert items_of(service) == ["r0", "r1", "r2"]
    assert first in service.tasks


def test_a_project_whose_making_was_not_answered_is_not_made_twice(service, client):
    service.after[:] = [None, httpx.ReadTimeout]
    client.ensure_project(SENTIMENTS)
    assert len(service.projects) == 1


def test_a_service_that_takes_no_import_is_not_asked_for_ever(service, client):
    project = client.ensure_project(SENTIMENTS)
    service.faults[:] = [None, None, *([500, None] * 100)]
    with pytest.raises(UserError, match="answered 500"):
        client.send(project, ITEMS)


def test_a_service_that_is_down_is_waited_for_and_then_named(service, client):
    project = client.ensure_project(SENTIMENTS)
    service.faults[:] = [httpx.ConnectError] * 3
    assert client.send(project, ITEMS).sent == 7
    service.faults[:] = [httpx.ConnectError] * 100
    with pytest.raises(UserError, match=r"http://reviews has not answered for 60 s.*make review"):
        client.send(project, ITEMS)


def test_an_empty_database_gets_project_and_items_again(service, client):
    client.send(client.ensure_project(SENTIMENTS), ITEMS)
    service.projects.clear()
    service.tasks.clear()
    assert client.send(client.ensure_project(SENTIMENTS), ITEMS) == Sent(7, 0, {})


def test_one_bad_item_is_named_and_the_others_are_sent(service, client):
    service.bad_text = "text 5"
    sent = client.send(client.ensure_project(SENTIMENTS), ITEMS)
    assert (sent.sent, sent.there_already) == (6, 0)
    assert list(sent.refused) == ["r5"]
    assert "bad" in sent.refused["r5"]
    assert len(service.tasks) == 6


@pytest.mark.parametrize(
    ("text", "taken"), [("a\0b", "ab"), (None, ""), ("\ud800x", "?x"), ("<b>&", "<b>&")]
)
def test_text_that_a_database_refuses_is_cleaned(text, taken):
    assert clean(text) == taken


def test_votes_are_read_by_name_with_who_and_when(service, client):
    project = client.ensure_project(SENTIMENTS)
    client.send(project, ITEMS)
    service.vote("r1", 3, "-1", minutes=2)
    service.vote("r1", 2, "1")
    service.vote("r2", 2, "cannot_tell", minutes=5)
    one, two, three = client.read_votes(project)
    assert (one.item_id, one.person, one.label) == ("r1", "anna@example.org", "positive")
    assert one.updated_at == datetime(2026, 11, 1, tzinfo=UTC)
    assert one.lead_seconds == 2.5
    assert (two.person, two.label) == ("bo@example.org", "negative")
    assert (three.item_id, three.label) == ("r2", "cannot_tell")
    assert len({one.annotation_id, two.annotation_id, three.annotation_id}) == 3


def test_what_is_no_vote_is_handed_on_as_it_is(service, client):
    project = client.ensure_project(SENTIMENTS)
    client.send(project, ITEMS)
    service.vote("r0", 2, "nonsense")
    service.vote("r1", 2, result=[], minutes=1)
    service.vote("r2", 2, "1", cancelled=True, minutes=2)
    service.vote("r3", 2, "1", "-1", minutes=3)
    service.vote("r4", 77, result="x", minutes=4)
    service.vote("r5", 2, result=[{"from_name": "other", "value": None}, 3], minutes=5)
    votes = client.read_votes(project)
    assert [vote.label for vote in votes] == ["nonsense", "", "", "1 + -1", "", ""]
    assert votes[4].person == "user 77"  # whose account is there no more


def test_votes_of_other_classes_are_read_by_their_names(service, client, tmp_path):
    project = client.ensure_project(LabelSet.parse("bad fair good"))
    client.send(project, ITEMS)
    service.vote("r1", 2, "2")
    # Another process, which did not make the project.
    reader = LabelStudio("http://reviews", TOKEN, transport=service.transport)
    assert [vote.label for vote in reader.read_votes(project)] == ["good"]
    service.projects[9] = {"id": 9, "description": "somebody's"}
    with pytest.raises(UserError, match="none of ours"):
        reader.read_votes(9)


def test_items_are_deleted_from_every_project_once(service, client):
    for labels in (SENTIMENTS, LabelSet.parse("bad good")):
        client.send(client.ensure_project(labels), ITEMS)
    assert client.delete(["r1", "r6", "unknown"]) == 4
    assert client.delete(["r1", "r6"]) == 0
    assert items_of(service) == sorted(2 * ["r0", "r2", "r3", "r4", "r5"])


@pytest.mark.parametrize("token", ["f" * 40, "", "höh"])
def test_a_wrong_token_is_one_sentence(service, token):
    with pytest.raises(UserError, match="administrator"):
        LabelStudio("http://reviews", token, transport=service.transport).wait()


def test_a_personal_token_is_refreshed_when_its_access_has_grown_old(service):
    service.refresh_token = "a.b.c"
    client = LabelStudio("http://reviews", "a.b.c", transport=service.transport)
    project = client.ensure_project(SENTIMENTS)
    service.access += 1  # the service forgot the one before
    assert client.send(project, ITEMS).sent == 7
    service.refresh_token = "d.e.f"
    service.access += 1
    with pytest.raises(UserError, match="does not accept the token"):
        client.tasks(project)


def test_a_refusal_says_what_was_said(service, client):
    with pytest.raises(UserError, match=r"GET /api/projects/12 \(404\): No Project matches"):
        client.read_votes(12)
