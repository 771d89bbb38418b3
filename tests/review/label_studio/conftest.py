"""A real Label Studio, its items, and two people who were invited to it."""

import os
import random
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from components.review.label_studio.client import LabelStudio, connect
from components.review.label_studio.process import HOST, VENV, Service, label_studio
from components.review.label_studio.reviewers import Account
from components.shared.machine.errors import UserError
from components.shared.machine.ports import free_port
from components.shared.records.labels import SENTIMENTS

HEADER = "kubeflow-userid"
PASSWORD = "long enough 1"
ANNA, BO = "anna@example.org", "bo@example.org"
ITEMS = [
    {
        **{"item_id": f"r{n}", "title": "<b>Nice</b>", "queue": "audit"},
        "review_body": f"Text {n} \0 <img src=x onerror=alert(1)><script>alert(2)</script>",
    }
    for n in range(12)
]
ADVICE = (
    "Label Studio is not installed beside ours: `make review-install` installs it, then set "
    f"{VENV} to its folder, .venv-review"
)


def unused_port():
    """A port that no connection of this machine is given while the service takes its time."""
    for port in range(random.randrange(10_000, 20_000), 30_000):
        with suppress(UserError):
            return free_port(HOST, port)
    raise AssertionError("every port is taken")


@dataclass
class World:
    service: Service
    client: LabelStudio
    project: int
    gateway: str  # where the platform's header counts

    def __post_init__(self):
        self.tasks = self.client.tasks(self.project)
        self.anna = Account(self.client, ANNA, PASSWORD)
        self.bo = Account(self.client, BO, PASSWORD)

    @property
    def administrator(self):
        return httpx.Client(
            base_url=self.client.url, headers={"Authorization": f"Token {self.service.token}"}
        )

    def vote(self, account, item, stored="1"):
        part = {"from_name": "sentiment", "to_name": "text", "type": "choices"}
        body = {"result": [part | {"value": {"choices": [stored]}}], "lead_time": 3}
        answer = account.client.post(f"/api/tasks/{self.tasks[item]}/annotations/", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


@pytest.fixture(scope="session")
def label_studio_venv():
    if not (Path(os.environ.get(VENV) or "nowhere") / "bin" / "python").exists():
        pytest.skip(ADVICE)


@pytest.fixture(scope="module")
def world(label_studio_venv, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    gateway = unused_port()
    variables = Service.variables

    def with_a_gateway(self):
        binds = f"{HOST}:{self.port},{HOST}:{gateway}"
        header = {"REVIEW_SIGN_IN_HEADER": HEADER, "REVIEW_SIGN_IN_PORT": str(gateway)}
        return variables(self) | header | {"REVIEW_BIND": binds}

    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:  # of this service, not of others beside it
            patch.setattr(Service, "variables", with_a_gateway)
            service = running.enter_context(label_studio(state, port=unused_port()))
        client = connect(state)
        client.wait()
        project = client.ensure_project(SENTIMENTS, 2)
        client.send(project, ITEMS)
        yield World(service, client, project, f"http://{HOST}:{gateway}")
