import shutil
import sqlite3

import pytest

from components.shared.machine.databases import check_database
from components.shared.machine.errors import UserError


def test_what_a_killed_process_left_half_written_is_rolled_back(tmp_path):
    with sqlite3.connect(tmp_path / "live.db", isolation_level=None) as connection:
        connection.execute("PRAGMA cache_size = 2")  # so that pages are written before the end
        connection.execute("CREATE TABLE t (text)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,) for _ in range(200)])
        for name in ("live.db", "live.db-journal"):
            shutil.copyfile(tmp_path / name, tmp_path / name.replace("live", "left"))
        connection.execute("ROLLBACK")
    check_database(tmp_path / "left.db")
    with sqlite3.connect(tmp_path / "left.db") as left:
        assert left.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_damaged_file_is_named_and_a_missing_one_is_not_made(tmp_path):
    check_database(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "bad.db").write_bytes(b"not a database " * 300)
    with pytest.raises(UserError, match=r"bad\.db cannot be used .file is not a database"):
        check_database(tmp_path / "bad.db")
