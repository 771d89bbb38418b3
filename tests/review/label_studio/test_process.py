import json
import os
import stat
import sys
from pathlib import Path

import httpx
import pytest

from components.review.label_studio.client import TOKEN, URL, connect
from components.review.label_studio.process import Service, label_studio
from components.shared.machine.errors import UserError

# Takes the place of Label Studio's interpreter: answers on its port, and says what it was told.
STAND_IN = """#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
if os.path.exists("broken"):
    print("a table is missing")
    sys.exit(3)
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())
host, port = os.environ["REVIEW_BIND"].split(":")
HTTPServer((host, int(port)), Answer).serve_forever()
"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setenv("LABEL_STUDIO_VENV", str(tmp_path / "venv"))
    for name in (URL, TOKEN, "REVIEW_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DEBUG", "true")
    monkeypatch.setenv("REVIEW_SIGN_IN_HEADER", "kubeflow-userid")


def environment_of(service):
    return json.loads(httpx.get(service.url).content)


def test_it_is_told_secrets_by_its_environment_and_nothing_of_ours(tmp_path):
    with label_studio(tmp_path / "state", port=0) as service:
        told = environment_of(service)
        assert service.is_running()
    assert not service.is_running()
    assert told["REVIEW_TOKEN"] == service.token
    assert len(service.token) == 40
    assert told["REVIEW_PASSWORD"] == service.password_file.read_text().strip()
    assert not {"DEBUG", "REVIEW_SIGN_IN_HEADER"} & told.keys()
    for file in (tmp_path / "state" / "secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secrets_and_folder_stay_for_the_next_start(tmp_path):
    state = tmp_path / "state"
    with label_studio(state, port=0) as first:
        one = environment_of(first)
    with label_studio(state, port=0) as second:
        two = environment_of(second)
        assert connect(state).url == second.url
    for name in ("REVIEW_TOKEN", "REVIEW_PASSWORD", "LABEL_STUDIO_BASE_DATA_DIR"):
        assert one[name] == two[name]


def test_two_for_one_state_folder_are_refused_and_two_folders_are_not(tmp_path):
    with label_studio(tmp_path / "one", port=0) as service:
        with pytest.raises(UserError, match=rf"runs already, at {service.url}; .*Ctrl\+C"):
            label_studio(tmp_path / "one", port=0).__enter__()
        with pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1 port .* another port"):
            label_studio(tmp_path / "two", port=service.port).__enter__()
        with label_studio(tmp_path / "two", port=0) as other:
            assert environment_of(other)["REVIEW_TOKEN"] != service.token


def test_a_service_that_does_not_start_or_ends_by_itself_says_what_it_printed(tmp_path):
    state = tmp_path / "state"

    def kill():
        with label_studio(state, port=0) as service:
            service.process.kill()
            service.process.wait()

    with pytest.raises(UserError, match="ended by itself: "):
        kill()
    (Service(state).folder / "broken").touch()
    with pytest.raises(UserError, match="did not start: a table is missing"):
        label_studio(state, port=0).__enter__()


def test_without_label_studio_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_VENV", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="`make review-install` installs it"):
        label_studio(tmp_path).__enter__()


def test_a_service_elsewhere_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(URL, "https://kubeflow.example.org/review/")
    monkeypatch.setenv(TOKEN, "a.b.c")
    client = connect(tmp_path, patience=3)
    assert (client.url, client._to.token) == ("https://kubeflow.example.org/review", "a.b.c")
    assert client._to.patience == 3
    assert not (tmp_path / "secrets").exists()


def test_the_process_knows_nothing_of_this_project():
    folder = Path(__file__).parents[3] / "components" / "review" / "label_studio" / "server"
    for file in folder.glob("*.py"):
        assert "components" not in file.read_text(), os.fspath(file)
