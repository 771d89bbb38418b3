import pyarrow as pa
import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import (
    CHECKPOINT_DIR,
    read_json,
    read_parquet,
    replaced_when_whole,
    sha256_of_file,
    surviving_folder,
    write_json,
    write_parquet,
)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_there_is_replaced_as_a_whole_or_left(tmp_path, kind):
    target = tmp_path / "model"

    def write(content, fails=False):
        with replaced_when_whole(target) as draft:
            if kind == "folder":
                draft.mkdir()
                draft /= "weights"
            draft.write_text(content)
            if fails:
                raise OSError("disk full")

    write("old")
    write("new")
    with pytest.raises(OSError, match="disk full"):
        write("half", fails=True)
    (written,) = target.iterdir() if kind == "folder" else [target]
    assert written.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_strict_and_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "a.json", {"loss": 0.5})
    assert read_json(tmp_path / "a.json") == {"loss": 0.5}
    assert (tmp_path / "a.json").read_text() == '{\n  "loss": 0.5\n}\n'
    with pytest.raises(UserError, match=r"c\.json does not exist"):
        read_json(tmp_path / "c.json")
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
    path.write_text("no")
    with pytest.raises(UserError, match=r"a\.parquet"):
        read_parquet(path, schema)
    with pytest.raises(UserError, match="does not exist"):
        read_parquet(tmp_path / "b.parquet", schema)


def test_a_digest_is_that_of_the_bytes_and_a_folder_that_of_its_facts(tmp_path, monkeypatch):
    monkeypatch.setenv(CHECKPOINT_DIR, str(tmp_path))
    assert surviving_folder({"a": 1, "b": 2}) == surviving_folder({"b": 2, "a": 1})
    assert surviving_folder({"a": 1}).parent == tmp_path
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "a").startswith("ba7816bf8f01cfea")
