"""Retention: the days of a payload log that are older than is allowed."""

import re
from datetime import UTC, date, datetime, timedelta

from components.shared.machine.errors import UserError
from components.shared.records.payloads import check_no_password

_DAY = re.compile(r"date=(\d{4}-\d{2}-\d{2})")


def delete_old_days(uri: str, days: int, today: date | None = None) -> list[str]:
    """Delete the folders of a payload log whose day is more than `days` days ago; their names.

    Reviews that people are asked about are copied, masked, when they are drawn: no open review
    needs the log.

    Raises:
        UserError: If days are fewer than 1, or nothing is at the URI.
    """
    import fsspec

    if days < 1:
        raise UserError(f"days is {days}; keep at least 1, since today's files are being written")
    files, root = fsspec.core.url_to_fs(check_no_password(uri))
    if not files.isdir(root):
        raise UserError(f"there is no payload log at {uri}; check the URI")
    first_kept = (today or datetime.now(UTC).date()) - timedelta(days=days)
    deleted = []
    for folder in sorted(files.ls(root, detail=False)):
        name = str(folder).rstrip("/").rpartition("/")[2]
        found = _DAY.fullmatch(name)
        if found and date.fromisoformat(found[1]) < first_kept:
            files.rm(folder, recursive=True)
            deleted.append(name)
    return deleted
