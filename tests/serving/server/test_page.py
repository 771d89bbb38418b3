import base64
import hashlib
import re
from pathlib import Path

import pytest
import yaml
from kserve import Model

from components.serving.__main__ import main
from components.serving.options import Endpoint
from components.serving.server.app import rest_application
from components.serving.server.data_plane import ForgivingDataPlane
from tests.serving.conftest import NAME, ask
from tests.serving.server.browser import PROGRAM, Browser

BROWSER = [(b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")]


def asked(*, page=True, headers=BROWSER, name=NAME, version="3", class_names=("bad", "good")):
    model = Model(name)
    model.version, model.class_names = version, class_names
    app = rest_application(ForgivingDataPlane(model), 1000, page=page)
    status, headers, body = ask(app, "/", method="GET", headers=headers)
    assert (status, headers[b"vary"]) == (200, b"Accept")
    return headers, body.decode()


@pytest.mark.parametrize(
    ("page", "headers"), [(False, BROWSER), (False, []), (True, []), (True, [(b"accept", b"*/*")])]
)
def test_without_a_page_and_without_a_browser_the_server_says_that_it_lives(page, headers):
    headers, body = asked(page=page, headers=headers)
    assert (headers[b"content-type"], body) == (b"application/json", '{"status":"alive"}')


@pytest.mark.parametrize(
    ("version", "class_names", "about"),
    [
        ("3", ["bad", "good"], "Version 3 answers bad or good."),
        ("", ["1", "2", "3"], "It answers 1, 2 or 3."),
        (
            "<3>",
            ["<b>", "{{most}}", '"'],
            "Version &lt;3&gt; answers &lt;b&gt;, {{most}} or &quot;.",
        ),
    ],
)
def test_a_browser_gets_a_page_about_the_model_that_is_served(version, class_names, about):
    headers, html = asked(version=version, class_names=class_names, name='"><i>')
    assert headers[b"content-type"] == b"text/html; charset=utf-8"
    assert about in html
    assert 'data-name="&quot;&gt;&lt;i&gt;"' in html


def test_the_page_is_whole_and_runs_its_own_script_only():
    headers, html = asked()
    assert not re.search(r"https?:|//\w|@import|url\(|\son\w+=|\sstyle=|innerHTML", html)
    policy = dict(
        rule.split(" ", 1) for rule in headers[b"content-security-policy"].decode().split("; ")
    )
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"


RUNTIME = yaml.safe_load(Path("manifests/base/serving/servingruntime.yaml").read_text())
CLUSTER = RUNTIME["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(
    ("given", "page"),
    [(["--model-dir=m"], True), (CLUSTER, False), ([*CLUSTER, "--page"], True)],
)
def test_it_is_there_on_one_machine_and_on_a_cluster_where_asked_for(monkeypatch, given, page):
    served = []
    monkeypatch.setattr("components.serving.server.server.serve", lambda *all: served.extend(all))
    monkeypatch.setattr("sys.argv", ["serving", *given])
    main()
    (endpoint,) = [one for one in served if isinstance(one, Endpoint)]
    assert endpoint.page is page


@pytest.fixture(params=[(400, False), (900, True)])
def browser(request, tmp_path):
    if PROGRAM is None:
        pytest.skip("there is no Chromium here")
    width, dark = request.param
    browser = Browser(tmp_path, dark, width)
    yield browser
    browser.close()


SHOWN = "!document.querySelector('section').hidden && !document.querySelector('button').disabled"


@pytest.mark.slow
def test_words_are_coloured_where_the_server_explains(start_server, browser):
    server = start_server("--explain")
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.type("#review", "<b>soft</b> but itchy")
    browser.click("button")
    browser.until("!document.querySelector('#why').hidden")
    spans = "[...document.querySelectorAll('#words span')]"
    assert browser.value(f"{spans}.map((one) => one.textContent)") == [
        *("<b>soft</b>", "but", "itchy"),
    ]
    kinds = browser.value(f"{spans}.map((one) => one.className)")
    assert set(kinds) <= {"for", "against"}
    grounds = browser.value(f"{spans}.map((one) => getComputedStyle(one).backgroundColor)")
    assert len(set(grounds)) > 1, "the policy lets the colours through"
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.faults == []


@pytest.mark.slow
def test_a_person_types_a_review_and_reads_the_answer(server, browser):
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.type("#title", "<img src=x onerror=alert(1)>")
    browser.press_enter()
    browser.until(SHOWN)
    lines = browser.value("document.querySelector('section').innerText").split("\n")
    shares = [float(line.removesuffix(" %")) for line in lines if line.endswith(" %")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert lines[0] in ("negative", "neutral", "positive")
    assert lines[-1] == f"Answered by {NAME} version 3."
    widths = browser.value("[...document.querySelectorAll('li i')].map((bar) => bar.style.width)")
    assert [float(width[:-1]) for width in widths] == pytest.approx(shares, abs=0.06)
    browser.type("#review", "itchy and tight " * 50)
    browser.click("button")
    browser.until("!document.querySelector('#cut').hidden")
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.faults == []
    browser.value("document.forms[0].reset()")
    browser.click("button")
    said = browser.until("document.querySelector('#wrong').innerText")
    assert said == "the review is blank; send a review"
    assert browser.value("document.querySelector('#answer').hidden")
