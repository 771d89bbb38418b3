import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.catalogue import data_sets, files_of
from components.personal_data import databases
from components.personal_data import forget as tested
from components.personal_data.forget import forget, left_of
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.file_list import write_file_list
from components.shared.records.forgotten import note_of, without_forgotten
from components.shared.records.payloads import read_payloads
from tests.personal_data.conftest import CANARY, IDS, TEXTS, found_in, log_answers

STORES = (
    *("warehouse/reviews/data", "warehouse/reviews/metadata", "online.db", "review_text/0.parquet"),
    *("payloads/date=", "votes/1.parquet", "ingest/reviews", "ingest/quarantine", "training_set"),
    *("prepare/prepared", "evaluate/summary", "report.html", "log.txt"),
)


def test_no_search_finds_it_anywhere_and_all_else_is_still_there(world):
    before = [str(path) for path in found_in(world.roots)]
    for store in STORES:  # The search finds it everywhere where it was put.
        assert any(store in path for path in before), store
    done = forget(IDS[1], world)
    assert found_in(world.roots) == []
    assert left_of(IDS[1], world, TEXTS[1]) == []
    assert done.removed["state/feature_store"] == 1
    assert done.removed["state/payloads/" + before_day(world)] == 2

    state, run = world.state, world.roots[1] / "one"
    assert pq.read_table(run / "prepare" / "prepared")["review_id"].to_pylist() == [IDS[0], IDS[2]]
    assert pq.read_table(run / "ingest" / "quarantine")["record"].to_pylist() == ["another"]
    assert read_payloads(str(state / "payloads"))["review_id"].to_pylist() == [IDS[0], IDS[2]]
    votes = pq.read_table(state / "review" / "votes" / "1.parquet")
    assert votes.to_pylist() == [{"item_id": IDS[2], "label": "negative"}]
    summary = json.loads((run / "evaluate" / "summary").read_text())
    assert [row["review_id"] for row in summary["mistakes"]] == [IDS[0], IDS[2]]
    assert (summary["rows"], summary["explained"]) == (3, [{"words": None}, {"words": []}])
    assert "deleted on request" in (run / "report.html").read_text()
    assert TEXTS[2] in (run / "other.html").read_text()
    assert (run / "log.txt").read_text() == "begun\nended\n"
    with closing(sqlite3.connect(state / "feature_store" / "online.db")) as connection:
        assert connection.execute("SELECT count(*) FROM p_review_text").fetchone() == (2,)


def before_day(world):
    (day,) = (world.state / "payloads").iterdir()
    return day.name


def test_the_catalogue_goes_on_with_the_rows_that_are_left(world):
    (before,) = data_sets()
    forget(IDS[1], world)
    (data,) = data_sets()
    assert (data.rows, data.snapshot_id, data.ingested) == (
        *(2, before.snapshot_id, before.ingested),
    )
    rows = [row for file in files_of(data) for row in pq.ParquetFile(file).read().to_pylist()]
    assert {row["review_id"] for row in rows} == {IDS[0], IDS[2]}


def test_the_note_names_nobody_and_readers_leave_the_review_out(world):
    done = forget(IDS[1], world)
    note = note_of(IDS[1], world.state)
    said = json.loads(note.read_text())
    assert said["removed"] == done.removed
    assert said["finished"]
    assert not any(part in note.read_text() + note.name for part in (IDS[1], CANARY))
    table = pa.table({"review_id": IDS})
    assert without_forgotten(table)["review_id"].to_pylist() == [IDS[0], IDS[2]]


def test_models_that_learned_from_it_are_named_also_after_another_was_forgotten(world):
    model = str((world.state / "mlflow" / "model").resolve())
    assert forget(IDS[0], world).models == [model]
    assert forget(IDS[1], world).models == [model]  # The training set has another digest by now.


def test_a_review_that_is_nowhere_is_said_and_leaves_no_note(world):
    for review_id in ("nobody", "*", "%", "../../etc/passwd", "[a-z]*", "' OR 1=1 --"):
        with pytest.raises(UserError, match="is nowhere in"):
            forget(review_id, world)
        assert not note_of(review_id, world.state).exists()
    with pytest.raises(UserError, match="no review is named"):
        forget(" ", world)
    assert len(read_payloads(str(world.state / "payloads"))) == 4


def test_forgetting_again_says_when_it_was_forgotten(world):
    assert forget(IDS[1], world).before == ""
    again = forget(IDS[1], world)
    assert again.before
    assert again.removed == {}


@pytest.mark.parametrize("files", range(1, 12, 3))
def test_killed_halfway_it_is_done_by_doing_it_again(world, monkeypatch, files):
    plain, done = tested.remove, []

    def killed(one, wanted):
        if len(done) == files:
            raise KeyboardInterrupt
        plain(one, wanted)
        done.append(one)

    monkeypatch.setattr(tested, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        forget(IDS[1], world)
    assert found_in(world.roots)
    assert len(without_forgotten(pa.table({"review_id": IDS}))) == 2  # Noted before anything.
    monkeypatch.setattr(tested, "remove", plain)
    forget(IDS[1], world)
    assert found_in(world.roots) == []


def test_two_at_once_wait_for_each_other(world):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda one: forget(one, world), (IDS[1], IDS[2]))
    assert first.removed["state/feature_store"] == second.removed["state/feature_store"] == 1
    assert found_in(world.roots) == []
    assert pq.read_table(world.roots[1] / "one" / "prepare" / "prepared").num_rows == 1


def test_a_database_that_is_locked_is_said_and_what_tells_the_text_stays(world, monkeypatch):
    monkeypatch.setattr(databases, "_WAIT_SECONDS", 0.05)
    database = world.state / "feature_store" / "online.db"
    with closing(sqlite3.connect(database)) as server:
        server.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match=r"online\.db cannot be purged.*stop the server"):
            forget(IDS[1], world)
        assert "finished" not in json.loads(note_of(IDS[1], world.state).read_text())
    forget(IDS[1], world)
    assert found_in(world.roots) == []


def test_a_text_in_somebody_elses_database_or_a_registered_folder_is_not_touched_but_said(world):
    database = world.state / "review" / "label_studio.sqlite3"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE task (id INTEGER, data TEXT)")
        data = json.dumps({"review_body": TEXTS[1]})
        connection.execute("INSERT INTO task VALUES (1, ?)", (data,))
        connection.commit()
    with pytest.raises(UserError, match="holds the review in task; delete it by the program"):
        forget(IDS[1], world)
    database.unlink()
    folder = world.state / "mlflow" / "model"
    write_json(folder / "input_example.json", [TEXTS[1]])
    write_file_list(folder)
    with pytest.raises(UserError, match="is not a file that may be changed"):
        forget(IDS[1], world)
    (folder / "input_example.json").unlink()
    forget(IDS[1], world)


class Service:
    """A store behind a program, of which a test says what it holds."""

    name = "the service"

    def __init__(self, *held):
        self.held = set(held)

    def count(self, ids):
        return len(self.held & ids)

    def delete(self, ids):
        deleted = len(self.held & ids)
        self.held -= ids
        return deleted


def test_services_are_asked_by_the_id_and_by_that_of_the_text(world):
    service = Service(IDS[1], IDS[2])
    done = forget(IDS[1], replace(world, services=[service]))
    assert done.removed["the service"] == 1
    assert service.held == {IDS[2]}
    only_there = Service("another-id")
    assert left_of("another-id", replace(world, services=[only_there])) == ["the service (1)"]
    assert forget("another-id", replace(world, services=[only_there])).removed == {"the service": 1}


def test_what_a_program_writes_again_meanwhile_is_deleted_too(world):
    class Sender(Service):
        def delete(self, ids):
            if self.held:  # It sends what it read before.
                log_answers(world.state / "payloads", TEXTS[1:2], IDS[1:2])
            return super().delete(ids)

    forget(IDS[1], replace(world, services=[Sender(IDS[1])]))
    assert found_in(world.roots) == []


def test_a_damaged_file_is_named(world):
    path = world.roots[1] / "one" / "prepare" / "prepared"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"prepared cannot be read .*restore or delete it"):
        forget(IDS[1], world)
