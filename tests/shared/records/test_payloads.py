from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from components.shared.machine.errors import UserError
from components.shared.records.open_inference import question_header
from components.shared.records.payloads import (
    check_no_password,
    day_folder,
    payload_schema,
    read_payloads,
)
from components.shared.records.text_statistics import TEXT_STATISTICS

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


ROW = {"model_name": "reviews", "model_version": "7", "text_sha256": "0" * 64, "text": None}
ROW |= {"label": "positive", "p_negative": 0.1, "p_neutral": 0.2, "p_positive": 0.7}


def rows(*times, request_id="a"):
    row = {**ROW, "truncated": False, "request_id": request_id}
    found = [{**row, "time": time, "position": position} for position, time in enumerate(times)]
    return pa.Table.from_pylist(found, schema=payload_schema())


def write(folder, table, name="x.parquet"):
    path = folder / day_folder(table["time"][0].as_py().date()) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_the_files_of_all_servers_and_days_are_read_in_order(tmp_path):
    second = timedelta(seconds=1)
    write(tmp_path, rows(MIDNIGHT + second, MIDNIGHT, request_id="b"), "one.parquet")
    write(tmp_path, rows(MIDNIGHT, request_id="a"), "two.parquet")
    write(tmp_path, rows(MIDNIGHT - second, request_id="c"))
    table = read_payloads(str(tmp_path))
    assert table.schema == payload_schema()
    assert table["request_id"].to_pylist() == ["c", "a", "b", "b"]
    assert table["position"].to_pylist() == [0, 0, 1, 0]
    assert read_payloads(str(tmp_path), columns=["label", "time"]).column_names == ["label", "time"]


def test_questions_of_our_own_are_not_traffic(tmp_path):
    write(tmp_path, rows(MIDNIGHT, request_id=question_header()["X-Request-Id"]), "ours.parquet")
    write(tmp_path, rows(MIDNIGHT, request_id="a-question-"), "theirs.parquet")
    assert read_payloads(str(tmp_path))["request_id"].to_pylist() == ["a-question-"]


def test_a_span_of_time_opens_only_its_days(tmp_path):
    write(tmp_path, rows(MIDNIGHT - timedelta(hours=1), request_id="before"))
    hours = [MIDNIGHT + timedelta(hours=hour) for hour in range(24)]
    write(tmp_path, rows(*hours))
    later = write(tmp_path, rows(MIDNIGHT + timedelta(hours=30), request_id="after"))
    later.write_bytes(b"not to be opened")
    # The same moments, told in a time zone where it is another day.
    east = timezone(timedelta(hours=9))
    since, until = hours[3].astimezone(east), hours[20].astimezone(east)
    found = read_payloads(str(tmp_path), since=since, until=until)["time"].to_pylist()
    assert found == hours[3:20]
    assert read_payloads(str(tmp_path), until=hours[0])["request_id"].to_pylist() == ["before"]


def test_a_log_of_an_earlier_release_reads_as_nulls(tmp_path):
    new = ["review_id", "product_category", "n_tokens", *(f.name for f in TEXT_STATISTICS)]
    write(tmp_path, rows(MIDNIGHT).drop_columns(new), "old.parquet")
    write(tmp_path, rows(MIDNIGHT + timedelta(seconds=1)))
    for table in (read_payloads(str(tmp_path)), read_payloads(str(tmp_path), columns=new)):
        assert len(table) == 2
        assert {table[name].null_count for name in new} == {2}


def test_drafts_and_other_files_are_not_read(tmp_path):
    path = write(tmp_path, rows(MIDNIGHT))
    (path.parent / ".y.parquet.draft").write_bytes(b"half")
    (path.parent / ".z.parquet").write_bytes(b"half")
    (path.parent / "_SUCCESS").write_bytes(b"")
    (tmp_path / "notes.parquet").write_bytes(b"not of a day")
    assert len(read_payloads(str(tmp_path))) == 1


def test_a_file_that_is_not_of_the_log_is_named(tmp_path):
    path = write(tmp_path, rows(MIDNIGHT))
    pq.write_table(rows(MIDNIGHT).drop_columns(["label"]), path)
    with pytest.raises(UserError, match="label"):
        read_payloads(str(tmp_path))
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match=path.name):
        read_payloads(str(tmp_path))


def test_damaged_files_and_those_of_other_classes_are_left_out_and_named(tmp_path):
    whole = write(tmp_path, rows(MIDNIGHT), "whole.parquet").read_bytes()
    names = ["p_bad" if name == "p_negative" else name for name in payload_schema().names]
    other = write(tmp_path, rows(MIDNIGHT).rename_columns(names), "other.parquet")
    damaged = write(tmp_path, rows(MIDNIGHT), "truncated.parquet")
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        read_payloads(str(tmp_path))
    skipped = []
    assert len(read_payloads(str(tmp_path), skipped=skipped)) == 1
    for path, why in ((damaged, "is damaged"), (other, "bad, neutral, positive, not negative")):
        assert [path.name in told and why in told for told in skipped].count(True) == 1


def test_a_file_system_that_fails_in_its_own_way_is_reported_in_words(monkeypatch):
    class BotoCoreError(Exception):
        pass

    def fail(self, path):
        raise BotoCoreError("Could not connect to the endpoint")

    monkeypatch.setattr(MemoryFileSystem, "exists", fail)
    with pytest.raises(UserError, match="memory://log cannot be read: Could not connect"):
        read_payloads("memory://log")


def test_a_listing_from_before_hides_no_file_and_a_missing_log_is_reported(tmp_path, monkeypatch):
    # As s3fs does: a listing is kept until it is told to forget it.
    listings, plain, files = {}, LocalFileSystem.find, LocalFileSystem

    def find(self, path):
        return listings.setdefault(path, plain(self, path))

    monkeypatch.setattr(files, "find", find)
    monkeypatch.setattr(files, "invalidate_cache", lambda self, path=None: listings.clear())
    empty = read_payloads(str(tmp_path))
    assert (empty.schema, len(empty)) == (payload_schema(), 0)
    write(tmp_path, rows(MIDNIGHT))
    assert len(read_payloads(str(tmp_path))) == 1
    with pytest.raises(UserError, match=r"no payload log at .*nothing"):
        read_payloads(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="unheard"):
        read_payloads("unheard://of")


@pytest.mark.parametrize(
    "uri",
    ["s3://key:s3cret@bucket/log", "s3://key:s3/cr=et@bucket/log", "sftp://me:s3cret@host/log"],
)
def test_a_password_in_the_uri_is_refused_and_not_repeated(uri):
    with pytest.raises(UserError, match="password") as refused:
        read_payloads(uri)
    assert "s3" not in str(refused.value).replace("s3 URI", "")
    # Others are left alone.
    for allowed in (
        *("/logs/a:b@c", "s3://bucket/a:b@c", "file:///logs/a:b@c", "gs://bucket/log"),
        *("hdfs://me@name:8020/log", "memory://log"),
    ):
        assert check_no_password(allowed) == allowed
