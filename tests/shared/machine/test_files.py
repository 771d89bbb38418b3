import pyarrow as pa
import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import (
    read_json,
    read_parquet,
    replaced_when_whole,
    sha256_of_file,
    write_json,
    write_parquet,
)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with replaced_when_whole(target) as draft:
            draft.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "model"
    for content in ("first", "second"):
        with replaced_when_whole(target) as draft:
            draft.mkdir()
            (draft / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "a.json", {"loss": 0.5})
    assert read_json(tmp_path / "a.json") == {"loss": 0.5}


def test_json_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UserError, match=r"b\.json is not valid JSON"):
        read_json(tmp_path / "b.json")


def test_parquet_comes_back_in_the_schema_asked_for(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, pa.table({"n": pa.array([1, 2], pa.int64()), "s": ["a", None]}))
    schema = pa.schema([("s", pa.string()), ("n", pa.int32())])
    table = read_parquet(path, schema)
    assert table.schema == schema
    assert read_parquet(path, schema, ["n"]).column_names == ["n"]
    with pytest.raises(UserError, match="has no column missing"):
        read_parquet(path, pa.schema([("missing", pa.string())]))


def test_parquet_that_cannot_be_read_is_named(tmp_path):
    schema = pa.schema([("n", pa.int32())])
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(UserError, match=r"a\.parquet"):
        read_parquet(tmp_path / "a.parquet", schema)
    with pytest.raises(UserError, match="does not exist"):
        read_parquet(tmp_path / "b.parquet", schema)


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "a").startswith("ba7816bf8f01cfea")
