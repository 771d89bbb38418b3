"""One person reviews in a real browser: signs up, reads, presses a key, corrects a slip."""

import shutil
from urllib.parse import urlsplit

import pytest

from tests.review.label_studio.conftest import HEADER, PASSWORD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium"),
]

EVA = "eva@example.org"


@pytest.fixture
def page(world):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_context().new_page()
        page.set_default_timeout(60_000)
        page.asked, page.dialogs = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("dialog", lambda one: (page.dialogs.append(one.message), one.dismiss()))
        yield page
        browser.close()


def votes_of(world, person):
    return [v.label for v in world.client.read_votes(world.project) if v.person == person]


def submit(page, key, method="POST"):
    page.keyboard.press(key)
    with page.expect_response(
        lambda one: "/annotations" in one.url and one.request.method == method
    ) as stored:
        page.keyboard.press("Control+Enter")
    assert stored.value.ok


def begin(page):
    """Close the instructions; what they say."""
    dialog = page.get_by_text("Labeling Instructions")
    dialog.wait_for()
    said = page.content()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.get_by_text("can't tell").first.wait_for()
    return said


def test_a_person_signs_up_reviews_and_corrects_a_slip(world, page):
    page.goto(world.client.invite_link())
    page.fill("input[name=email]", EVA)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    assert "square brackets" in begin(page)
    assert "<b>Nice</b>" in page.inner_text(
        "body"
    )  # as it was written, not as a page would draw it
    first = page.inner_text("body")
    submit(page, "1")
    page.wait_for_function("first => document.body.innerText != first", arg=first)
    page.get_by_text("<b>Nice</b>").wait_for()
    submit(page, "4")
    assert votes_of(world, EVA) == ["negative", "cannot_tell"]
    page.get_by_label("previous").first.click()
    page.get_by_role("button", name="Update").wait_for()
    submit(page, "2", "PATCH")
    assert votes_of(world, EVA) == ["negative", "neutral"]
    page.goto(f"{world.client.url}/logout")
    page.goto(f"{world.client.url}/")
    page.fill("input[name=email]", EVA)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.get_by_text("can't tell").first.wait_for()
    host = urlsplit(world.client.url).netloc
    assert {urlsplit(url).netloc for url in page.asked if url.startswith("http")} == {host}
    assert page.dialogs == []


def test_whom_the_platform_names_reviews_without_a_password(world, page):
    page.context.set_extra_http_headers({HEADER: "finn@example.org"})
    page.goto(f"{world.gateway}/")
    begin(page)
    submit(page, "3")
    assert votes_of(world, "finn@example.org") == ["positive"]
