"""The history of looks: which windows were looked at, and what each look said.

The alarm budget is stated a year, so that it matters how often somebody looks. The same window of
the same version is the same look, however often it is repeated.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json
from components.shared.records.monitoring_summary import DRIFTED, MonitoringSummary

LOOKS = "looks"

_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Look:
    """A window that was looked at, and the verdict."""

    model_name: str
    model_version: str
    looked_at: str
    since: str
    until: str
    verdict: str
    concept_drift: str
    rows: int
    alpha: float


def record_look(folder: str | Path, log_uri: str, summary: MonitoringSummary) -> list[Look]:
    """Write a look down, one file each, and return those of this model in the last 365 days.

    A file is named by the window, the version and the log, so that a repeated look replaces itself;
    it is whole or not there, so that two monitors can look at once.

    Args:
        folder: Folder of monitoring's state.
        log_uri: The log that was read.
        summary: What was found.

    Returns:
        The looks, this one among them, by the time at which they were taken.
    """
    window = (summary.model_name, summary.model_version, summary.since, summary.until, log_uri)
    key = hashlib.sha256("\n".join(window).encode()).hexdigest()[:16]
    path = Path(folder) / LOOKS / f"{key}.json"
    facts = {name: getattr(summary, name) for name in Look.__dataclass_fields__}
    write_json(path, facts)
    return looks_of(folder, summary.model_name, datetime.fromisoformat(summary.looked_at))


def looks_of(folder: str | Path, model_name: str, until: datetime | None = None) -> list[Look]:
    """The looks at a model in the 365 days before a moment; a file that is damaged is left out."""
    until = until or datetime.now(UTC)
    found = []
    for file in sorted((Path(folder) / LOOKS).glob("*.json")):
        try:
            look = Look(**read_json(file))
            moment = datetime.fromisoformat(look.looked_at)
        except (TypeError, ValueError, UserError):
            continue
        if look.model_name == model_name and until - _YEAR < moment <= until:
            found.append(look)
    return sorted(found, key=lambda look: look.looked_at)


def over_budget(looks: list[Look], looks_per_year: int) -> str:
    """What to do where more looks were taken than the alarm budget is shared among, else ""."""
    if len(looks) <= looks_per_year:
        return ""
    alarms = sum(look.verdict == DRIFTED for look in looks)
    return (
        f"this is look {len(looks)} in 365 days ({alarms} alarms), but the alarm budget is shared "
        f"among {looks_per_year}: set looks_per_year to how often you look"
    )
