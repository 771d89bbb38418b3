from datetime import date

import pytest

from components.personal_data.retention import delete_old_days
from components.shared.machine.errors import UserError

TODAY = date(2026, 11, 22)


def test_days_that_are_older_go_and_nothing_else(tmp_path):
    for name in ("date=2026-10-23", "date=2026-10-22", "date=2025-01-01", "notes", "date=soon"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.parquet").write_text("rows")
    uri = f"file://{tmp_path}"
    assert delete_old_days(uri, 30, TODAY) == ["date=2025-01-01", "date=2026-10-22"]
    left = ["date=2026-10-23", "date=soon", "notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert delete_old_days(str(tmp_path), 30, TODAY) == []


def test_no_days_and_no_log_are_refused(tmp_path):
    with pytest.raises(UserError, match="keep at least 1"):
        delete_old_days(str(tmp_path), 0)
    with pytest.raises(UserError, match="no payload log at"):
        delete_old_days(str(tmp_path / "nothing"), 7)
    with pytest.raises(UserError, match="password"):
        delete_old_days("s3://key:secret@bucket/log", 7)
