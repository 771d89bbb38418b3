"""The image of Label Studio: upstream's pinned packages, and of ours its settings."""

import re

from components.shared.kubernetes.namespace_objects import RUN_AS_USER
from tests.images.reader import ROOT, environment, in_order, labels, read_dockerfile

DOCKERFILE = read_dockerfile("review")
FOLDER = "components/review/label_studio"


def test_it_installs_what_make_review_installs_and_holds_nothing_else_of_ours():
    sources = [source for source, _ in DOCKERFILE.copied()]
    assert sources == [f"{FOLDER}/requirements.txt", f"{FOLDER}/server"]
    assert "--requirement requirements.txt" in in_order("RUN", DOCKERFILE.build_stage)[0]
    assert f"{FOLDER}/requirements.txt" in (ROOT / "Makefile").read_text()


def test_every_package_is_pinned_label_studio_among_them():
    lines = (ROOT / FOLDER / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert {"label-studio", "gunicorn", "psycopg"} <= {pin.partition("==")[0] for pin in pins}


def test_its_process_is_not_root_installs_nothing_and_finds_its_settings():
    last = DOCKERFILE.last_stage
    assert in_order("USER", last) == [f"{RUN_AS_USER}:{RUN_AS_USER}"]
    assert "-name pip " in in_order("RUN", last)[0]
    given = environment(last)
    assert given["PYTHONPATH"] == in_order("WORKDIR", last)[0] == "/app"
    assert given["HOME"] == "/tmp"
    assert labels(last)["org.opencontainers.image.title"] == "review-sentiment review"
    (command,) = in_order("ENTRYPOINT", last)
    (file,) = re.findall(r"/app/(\w+\.py)", command)
    assert (ROOT / FOLDER / "server" / file).is_file()
