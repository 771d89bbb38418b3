import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from components.serving.batch import score as score_module
from components.serving.batch import shard
from components.serving.batch.job import MANIFEST, SUMMARY
from components.shared.machine.errors import UserError, in_words
from components.shared.machine.files import read_json, write_json
from components.shared.records.file_list import folder_digest
from tests.serving.batch.conftest import SHARD, scored, write_reviews


def parts(folder):
    return sorted(path.name for path in folder.glob("part-*.parquet"))


def test_each_review_is_answered_once_in_order_and_accounted_for(
    score, reviews, served_folder, tmp_path
):
    done = score(reviews)
    rows = scored(tmp_path / "out")
    assert [row["line"] for row in rows] == list(range(2, 102))
    assert [row["review_id"] for row in rows] == [f"r{number % 90}" for number in range(100)]
    said = {(row["model_name"], row["model_version"], row["model_digest"]) for row in rows}
    assert said == {("sentiment", "3", folder_digest(served_folder))}
    assert len(parts(tmp_path / "out")) == done.shards == 7
    assert sum(done.labels.values()) == done.reviews == 100
    assert done.labels["positive"] == sum(row["label"] == "positive" for row in rows)
    assert done.truncated == sum(row["truncated"] for row in rows) > 0
    assert read_json(tmp_path / "out" / SUMMARY)["labels"] == done.labels
    manifest = read_json(tmp_path / "out" / MANIFEST)
    assert manifest["engine"] == "torch"
    assert manifest["model"]["calibration"]["temperature"] == 1.5


def test_what_is_there_is_not_scored_again_and_what_was_cut_is(score, reviews, tmp_path):
    score(reviews)
    whole = scored(tmp_path / "out")
    first, second, third, *others = sorted((tmp_path / "out").glob("part-*"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-50])
    third.write_bytes(b"")
    times = [path.stat().st_mtime_ns for path in others]
    done = score(reviews)
    assert (done.shards, done.shards_before) == (7, 4)
    assert [path.stat().st_mtime_ns for path in others] == times
    again = scored(tmp_path / "out")
    assert [row["line"] for row in again] == [row["line"] for row in whole]
    assert [row["p_negative"] for row in again] == [row["p_negative"] for row in whole]
    assert score(reviews).reviews_per_second == 0


KILLED = """
import sys, time
from components.serving.batch import score as score_module
from components.serving.batch import shard
from components.serving.batch.score import score_reviews

write = shard.write_parquet

def slowly(path, table):
    write(path, table)
    time.sleep(0.3)

shard.write_parquet = slowly
reviews, model, folder = sys.argv[1:]
score_reviews(reviews, model, folder, model_name="sentiment", model_version="3", engine="torch")
"""


def test_killed_in_the_middle_it_goes_on_and_no_row_is_lost_or_twice(
    score, served_folder, tmp_path
):
    reviews = write_reviews(tmp_path / "reviews.parquet", 20 * SHARD)
    folder = tmp_path / "out"
    words = [sys.executable, "-c", KILLED, reviews, served_folder, folder]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        while len(parts(folder)) < 3 and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    left = parts(folder)
    assert 3 <= len(left) < 20
    (folder / f".{left[0]}.abc").mkdir()  # As a process leaves it that was killed while writing.
    done = score(reviews)
    assert done.shards_before >= 3
    assert set(left) <= set(parts(folder))
    assert [path.name for path in folder.glob(".*")] == [".lock"]
    assert [row["line"] for row in scored(folder)] == list(range(2, 2 + 20 * SHARD))


def test_interrupted_it_gives_up_what_is_not_computed_and_can_go_on(score, reviews, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(score_module, "as_completed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            score(reviews)
    assert score(reviews).reviews == 100


def test_another_job_is_refused_before_anything_is_touched(score, reviews, served_folder, tmp_path):
    score(reviews)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    other = write_reviews(tmp_path / "other.parquet", seed=1)
    retrained = tmp_path / "retrained"
    shutil.copytree(served_folder, retrained)
    calibration = {"temperature": 1.6, "decision_offsets": [0.0, 0.0, 0.0]}
    write_json(retrained / "calibration.json", calibration)
    for words, given in {
        "holds the predictions of 100 other reviews than these 100": {"reviews": other},
        "scored by sentiment version 3, and this is sentiment version 4": {"version": "4"},
        "and this is files of it that are not the same": {"model": retrained},
        "begun with engine torch, not openvino-int8": {"engine": "openvino-int8"},
    }.items():
        with pytest.raises(UserError, match=words):
            score(**{"reviews": reviews} | given)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert score(reviews, engine="auto").engine == "torch"


def test_a_folder_of_other_files_is_refused(score, reviews, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("x")
    with pytest.raises(UserError, match=r"holds thesis\.docx, which scoring did not write"):
        score(reviews)


def test_two_processes_do_not_score_into_one_folder(score, reviews, tmp_path):
    from components.serving.batch.job import own_folder

    with own_folder(tmp_path / "out"), pytest.raises(UserError, match="another process is scor"):
        score(reviews)


def test_a_full_disk_is_one_sentence_and_the_next_try_goes_on(
    score, reviews, tmp_path, monkeypatch
):
    write, written = shard.write_parquet, []

    def fills_up(path, table):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        write(path, table)

    monkeypatch.setattr(shard, "write_parquet", fills_up)
    with pytest.raises(OSError, match="No space left") as caught:
        score(reviews)
    assert "free some space" in in_words(caught.value)
    assert not (tmp_path / "out" / SUMMARY).exists()
    monkeypatch.setattr(shard, "write_parquet", write)
    assert score(reviews).shards_before == 2
    assert len(scored(tmp_path / "out")) == 100


@pytest.mark.parametrize("content", [b"no", None])
def test_what_is_no_file_of_reviews_to_score_is_named(score, tmp_path, content):
    path = tmp_path / "x.parquet"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.parquet (is no Parquet|does not exist)"):
        score(path)


def test_predictions_are_no_reviews_to_score(score, reviews, tmp_path):
    score(reviews)
    with pytest.raises(UserError, match="does not hold reviews to score"):
        score(next((tmp_path / "out").glob("part-*")), folder=tmp_path / "again")
