"""What a reviewer could do to a real Label Studio, and what comes of it."""

import json

import httpx
import pytest

from tests.review.label_studio.conftest import ANNA, BO, HEADER, PASSWORD

pytestmark = pytest.mark.slow

FILTER = {
    "conjunction": "and",
    "items": [
        {
            **{"filter": "filter:tasks:annotations_results", "operator": "contains"},
            **{"type": "String", "value": "-1"},
        }
    ],
}
CHOSEN = json.dumps({"filters": FILTER})
VOTE = [
    {"from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": ["1"]}}
]

# {p} is the project, {t} a task on which only Bo has voted, {o} one on which nobody has, {a} Bo's
# vote, {own} Anna's own, {bo} and {anna} their numbers.
ATTACKS = {
    "change the project": ("PATCH", "/api/projects/{p}", {"title": "mine now"}),
    "change its page": ("PATCH", "/api/projects/{p}/", {"label_config": "<View/>"}),
    "delete the project": ("DELETE", "/api/projects/{p}", None),
    "make a project": ("POST", "/api/projects", {"title": "another"}),
    "delete a task": ("DELETE", "/api/tasks/{t}", None),
    "delete all tasks": (
        *("POST", "/api/dm/actions?id=delete_tasks&project={p}"),
        {"selectedItems": {"all": True, "excluded": []}},
    ),
    "delete all votes": (
        *("POST", "/api/dm/actions?id=delete_tasks_annotations&project={p}"),
        {"selectedItems": {"all": True, "excluded": []}},
    ),
    "change a task": ("PATCH", "/api/tasks/{o}", {"data": {"review_body": "x"}}),
    "make a task": ("POST", "/api/tasks", {"project": 1, "data": {}}),
    "import tasks": ("POST", "/api/projects/{p}/import", [{"data": {"review_body": "x"}}]),
    "delete another's vote": ("DELETE", "/api/annotations/{a}", None),
    "delete one's own vote": ("DELETE", "/api/annotations/{own}", None),
    "change another's vote": ("PATCH", "/api/annotations/{a}", {"result": []}),
    "replace another's vote": ("PUT", "/api/annotations/{a}", {"result": []}),
    "give one's vote to another": ("PATCH", "/api/annotations/{own}", {"completed_by": "{bo}"}),
    "vote as another": (
        *("POST", "/api/tasks/{o}/annotations"),
        {"result": VOTE, "completed_by": "{bo}"},
    ),
    "leave a draft as another": ("POST", "/api/tasks/{o}/drafts", {"result": [], "user": "{bo}"}),
    "read another's vote": ("GET", "/api/annotations/{a}", None),
    "read the votes on a task": ("GET", "/api/tasks/{t}", None),
    "read them with a slash": ("GET", "/api/tasks/{t}/", None),
    "list the votes on a task": ("GET", "/api/tasks/{t}/annotations/", None),
    "read the distribution": ("GET", "/api/tasks/{t}/agreement/", None),
    "read the drafts": ("GET", "/api/tasks/{t}/drafts", None),
    "read the export": ("GET", "/api/projects/{p}/export?exportType=JSON", None),
    "make an export": ("POST", "/api/projects/{p}/exports", {}),
    "list a project's tasks": ("GET", "/api/projects/{p}/tasks/", None),
    "ask for votes by a filter": ("POST", "/api/dm/actions?id=next_task&project={p}", CHOSEN),
    "choose the next task": (
        *("POST", "/api/dm/actions?id=next_task&project={p}"),
        {"selectedItems": {"all": False, "included": [1]}},
    ),
    "ask by a query": ("GET", "/api/projects/{p}/next?query=" + CHOSEN, None),
    "ask by a view": ("POST", "/api/dm/actions?id=next_task&project={p}&view=1", {}),
    "read a user": ("GET", "/api/users/{bo}", None),
    "read the users as another format": ("GET", "/api/users.json", None),
    "read the members": ("GET", "/api/organizations/1/memberships", None),
    "change a user": ("PATCH", "/api/users/{bo}", {"first_name": "x"}),
    "make a user": ("POST", "/api/users", {"email": "new@example.org"}),
    "read the invitation": ("GET", "/api/invite", None),
    "change the invitation": ("POST", "/api/invite/reset-token", {}),
    "lock everybody out": ("POST", "/api/jwt/settings", {"api_tokens_enabled": False}),
    "make a token for 200 years": ("POST", "/api/token/", {}),
    "add a webhook": ("POST", "/api/webhooks/", {"url": "https://example.org"}),
    "read the server's files": (
        *("POST", "/api/storages/localfiles/"),
        {"project": 1, "path": "/etc"},
    ),
    "let the server ask a model": ("POST", "/api/ml", {"url": "http://10.0.0.1", "project": 1}),
    "open the administration": ("GET", "/admin/", None),
    "see the queues": ("GET", "/django-rq/", None),
    "let the server ask outside": ("GET", "/heidi-tips", None),
    "make the server fail": ("GET", "/trigger500/", None),
}


@pytest.fixture(scope="module")
def numbers(world):
    people = world.client.people()
    world.vote(world.anna, "r0")
    return {
        **{"p": world.project, "t": world.tasks["r1"], "o": world.tasks["r2"]},
        **{"a": world.vote(world.bo, "r1", "-1"), "own": world.vote(world.anna, "r3")},
        **{"bo": people[BO], "anna": people[ANNA]},
    }


def fill(value, numbers):
    text = value if isinstance(value, str) else json.dumps(value)
    for name, number in numbers.items():
        text = text.replace(f'"{{{name}}}"', str(number)).replace(f"{{{name}}}", str(number))
    return text


@pytest.fixture(scope="module")
def ways(world):
    """The ways in which Anna may ask: signed in, by a token, and by the same in another header."""
    token = world.anna.client.get("/api/current-user/token").json()["token"]
    base = {"base_url": world.client.url}
    return [
        world.anna.client,
        httpx.Client(**base, headers={"Authorization": f"Token {token}"}),
        httpx.Client(**base, headers={"X-Api-Key": token}),
        httpx.Client(base_url=world.gateway, headers={HEADER: ANNA}),
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(world, ways, numbers, attack):
    method, path, body = ATTACKS[attack]
    request = {"method": method, "url": fill(path, numbers)}
    if body is not None:
        request |= {
            "content": fill(body, numbers),
            "headers": {"Content-Type": "application/json"},
        }
    before = everything(world)
    for way in ways:
        answer = way.request(**request)
        assert answer.status_code == 403, answer.text[:300]
        assert answer.json()["detail"]
    assert everything(world) == before


def everything(world):
    with world.administrator as administrator:
        path = f"/api/projects/{world.project}"
        exported = administrator.get(f"{path}/export?exportType=JSON&download_all_tasks=true")
        project = administrator.get(path).json()
    kept = ("title", "label_config", "maximum_annotations", "task_number")
    tasks = [
        (task["id"], task["data"], [(a["id"], a["completed_by"]) for a in task["annotations"]])
        for task in exported.json()
    ]
    return {name: project[name] for name in kept}, tasks, sorted(world.client.people())


def test_a_vote_that_is_a_form_or_no_object_is_refused(world, numbers):
    url = f"/api/tasks/{numbers['o']}/annotations/"
    forged = {"result": "[]", "completed_by": str(numbers["bo"])}
    client = world.anna.client
    for request in ({"data": forged}, {"files": {"a": b"b"}, "data": forged}, {"json": [forged]}):
        assert client.post(url, **request).status_code == 403


def test_the_lists_of_the_pages_tell_nothing(world, numbers):
    client = world.anna.client
    assert [one["email"] for one in client.get("/api/users").json()] == [ANNA]
    for query in ("fields=all", "view=1", f"query={CHOSEN}", "review=true"):
        listed = client.get(f"/api/tasks?project={numbers['p']}&{query}").json()
        assert (listed["tasks"], listed["total"]) == ([], 0)


def test_a_reviewer_sees_and_changes_a_vote_of_their_own_and_no_other(world):
    mine, _ = world.vote(world.anna, "r4", "0"), world.vote(world.bo, "r4", "-1")
    task = world.anna.client.get(f"/api/tasks/{world.tasks['r4']}").json()
    assert [one["id"] for one in task["annotations"]] == [mine]
    assert BO not in json.dumps(task)
    assert "annotations_results" not in task
    body = {"result": [VOTE[0] | {"value": {"choices": ["cannot_tell"]}}]}
    assert world.anna.client.patch(f"/api/annotations/{mine}", json=body).is_success
    votes = {(v.person, v.label) for v in world.client.read_votes(world.project)}
    assert {(ANNA, "cannot_tell"), (BO, "negative")} <= votes


def test_a_review_that_was_shown_or_begun_can_be_come_back_to(world):
    shown = world.anna.client.get(f"/api/projects/{world.project}/next").json()
    world.vote(world.bo, next(i for i, t in world.tasks.items() if t == shown["id"]), "-1")
    begun = {"result": VOTE, "lead_time": 1}
    other = world.tasks["r8"]
    assert world.anna.client.post(f"/api/tasks/{other}/drafts", json=begun).status_code == 201
    world.vote(world.bo, "r8", "-1")
    for number, drafts in ((shown["id"], 0), (other, 1)):
        task = world.anna.client.get(f"/api/tasks/{number}").json()
        assert (task["annotations"], len(task["drafts"])) == ([], drafts)
        assert BO not in str(task)


def test_the_next_review_tells_nothing_of_votes_and_of_the_model(world):
    world.vote(world.bo, "r5", "-1")
    shown = world.anna.client.get(f"/api/projects/{world.project}/next").json()
    assert shown["annotations"] == shown["predictions"] == []
    assert set(shown["data"]) == {"item_id", "title", "review_body"}


def test_an_administrator_may_do_as_before(world):
    with world.administrator as administrator:
        assert administrator.get("/api/users").json()[0]["email"]
        assert administrator.patch(f"/api/projects/{world.project}", json={"color": "#FFFFFF"})
        link = administrator.get("/api/invite").json()["invite_url"]
        assert "/user/signup/?token=" in link


def test_nobody_signs_up_without_the_invitation(world):
    with httpx.Client(base_url=world.client.url) as stranger:
        stranger.get("/user/signup/")
        form = {"csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
        form |= {"email": "stranger@example.org", "password": PASSWORD}
        headers = {"Referer": f"{world.client.url}/user/signup/"}
        assert stranger.post("/user/signup/", data=form, headers=headers).status_code == 403
    assert "stranger@example.org" not in world.client.people()


@pytest.mark.parametrize("header", [HEADER, "X-Forwarded-Email", "kubeflow_userid"])
def test_a_header_is_believed_at_the_gateways_port_only(world, header):
    said = httpx.get(f"{world.client.url}/api/current-user/whoami", headers={header: ANNA})
    assert said.status_code == 401


def test_the_platforms_header_signs_in_whom_it_names(world):
    with httpx.Client(base_url=world.gateway) as client:
        for email in ("Cleo@Example.org", "cleo@example.org", BO):
            said = client.get("/api/current-user/whoami", headers={HEADER: email})
            assert said.json()["email"] == email.lower()
        # A page that comes back with a cookie alone is nobody's.
        assert client.get("/api/current-user/whoami").status_code == 403
        assert client.get("/", headers={HEADER: "not an address"}).status_code == 403
        answer = client.get("/", headers={HEADER: "dora@example.org"})
        assert answer.headers["location"] == f"/projects/{world.project}/data?labeling=1"
    people = world.client.people()
    assert {"cleo@example.org", "dora@example.org"} <= people.keys()
    assert "Cleo@Example.org" not in people


def test_the_header_cannot_name_the_administrator(world):
    said = httpx.get(f"{world.gateway}/api/users", headers={HEADER: "review@localhost.localdomain"})
    assert said.status_code == 403
