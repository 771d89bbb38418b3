from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from components.review.label_studio.client import LabelStudio
from components.review.label_studio.process import Service
from components.shared.records.labels import LabelSet
from components.shared.records.review_items import review_items_schema, write_items
from components.shared.records.votes import read_votes
from pipelines.running import review
from tests.stand_ins.label_studio import TOKEN, LabelStudioStandIn

LABELS = LabelSet.parse("bad good")


@pytest.fixture
def service(monkeypatch, tmp_path):
    """A service that runs for two looks."""
    stand_in = LabelStudioStandIn()
    client = LabelStudio("http://reviews", TOKEN, transport=stand_in.transport, sleep=print)
    looks = iter([True, True, False])

    @contextmanager
    def label_studio(state, port):
        monkeypatch.setattr(Service, "is_running", lambda _: next(looks))
        yield Service(state, port)

    monkeypatch.setattr(review, "label_studio", label_studio)
    monkeypatch.setattr(review, "connect", lambda state: client)
    monkeypatch.setenv("REVIEW_DIR", str(tmp_path / "review"))
    return stand_in


def draw(folder, count=3):
    row = {
        **{"review_body": "text", "queue": "audit", "inclusion_probability": 0.5, "weight": 1.0},
        **{"occurrences": 1, "label": "good", "p_bad": 0.1, "p_good": 0.9},
        "time": datetime(2026, 11, 1, tzinfo=UTC),
    }
    rows = [row | {"item_id": f"r{n}"} for n in range(count)]
    schema = review_items_schema(LABELS)
    write_items(folder / "review" / "items", "one", pa.Table.from_pylist(rows, schema=schema))


def test_serve_says_how_to_sign_in_sends_what_is_drawn_and_collects(service, tmp_path, capsys):
    draw(tmp_path)
    arguments = ["serve", "--state", str(tmp_path), "--poll-seconds", "0", "--people", "2"]
    review.main(arguments)
    said = capsys.readouterr().out
    for part in ("http://127.0.0.1:8181/", "http://reviews/user/signup/?token=abc"):
        assert part in said
    assert f"{tmp_path}/secrets/label_studio.password" in said
    assert said.count("3 reviews sent, 0 were there") == 1
    (project,) = service.projects.values()
    assert project["maximum_annotations"] == 2
    assert "bad, good" in project["title"]


def test_collect_keeps_the_votes_in_the_journal_once(service, tmp_path, capsys):
    draw(tmp_path)
    review.main(["send", "--state", str(tmp_path)])
    service.vote("r1", 2, "1")
    for _ in range(2):
        review.main(["collect", "--state", str(tmp_path)])
    sent, new, old = capsys.readouterr().out.splitlines()
    assert sent.startswith("3 reviews sent")
    assert "1 votes are new" in new
    assert "0 votes are new" in old
    (vote,) = read_votes(tmp_path / "review" / "votes").to_pylist()
    assert (vote["item_id"], vote["label"]) == ("r1", "good")
    assert "anna" not in str(vote)


def test_a_fault_of_the_service_does_not_end_it(service, tmp_path, capsys, caplog):
    draw(tmp_path)
    service.token = "f" * 40
    client_calls = service.requests
    with pytest.raises(SystemExit):  # at the start it does
        review.main(["serve", "--state", str(tmp_path), "--poll-seconds", "0"])
    service.token = TOKEN
    options = review.argparse.Namespace(people=2)
    service.faults[:] = [401] * 3
    review._gather_or_log(review.connect(tmp_path), options)
    assert "does not accept the token" in caplog.text
    assert client_calls


def test_nothing_drawn_is_one_sentence(service, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        review.main(["collect", "--state", str(tmp_path)])
    assert "`make review-labels` draws them" in capsys.readouterr().err


def test_invite_prints_the_link(service, tmp_path, capsys):
    review.main(["invite", "--state", str(tmp_path)])
    assert capsys.readouterr().out == "http://reviews/user/signup/?token=abc\n"
