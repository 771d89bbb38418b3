"""Taking a look: monitor, write it down, and tell Prometheus."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.monitoring.looks import over_budget, record_look
from components.monitoring.metrics import write_metrics
from components.monitoring.monitor import MonitoringOptions, monitor
from components.monitoring.window import ServedModel
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.machine.state import review_folder, state_folder
from components.shared.records.monitoring_summary import MonitoringSummary

logger = logging.getLogger(__name__)

DAYS = 7
"""Length of a window whose begin is not named."""


def monitoring_folder() -> Path:
    """Folder of the history of looks, the metrics and the newest page."""
    return state_folder() / "monitoring"


def review_labels() -> str:
    """Folder of what the review resolved; "" where nothing was reviewed yet."""
    folder = review_folder() / "resolved"
    return str(folder) if folder.is_dir() else ""


def window_of(since: str, until: str, now: datetime | None = None) -> tuple[datetime, datetime]:
    """The ends of a window from ISO dates or times; the last seven days where nothing is named.

    >>> [str(end) for end in window_of("2026-11-01", "2026-11-08T12:00:00+01:00")]
    ['2026-11-01 00:00:00+00:00', '2026-11-08 11:00:00+00:00']
    """
    end = _moment(until) if until else (now or datetime.now(UTC)).replace(microsecond=0)
    return (_moment(since) if since else end - timedelta(days=DAYS)), end


def take_look(
    log_uri: str,
    model: ServedModel,
    window: tuple[datetime, datetime],
    summary_json: str | Path,
    options: MonitoringOptions | None = None,
    *,
    resolved: str = "",
    predictions: str | Path = "",
    folder: Path | None = None,
) -> MonitoringSummary:
    """Monitor a window, and leave summary, history and metrics; see `monitor` for the arguments.

    Args:
        log_uri: The payload log.
        model: The version that is monitored.
        window: Begin and end.
        summary_json: Where to write the summary.
        options: How strict to be.
        resolved: Labels that people agreed on.
        predictions: The version's test predictions.
        folder: Folder of monitoring's state; `monitoring_folder` where None.
    """
    options = options or MonitoringOptions()
    found = monitor(log_uri, model, *window, options, resolved=resolved, predictions=predictions)
    folder = folder or monitoring_folder()
    looks = record_look(folder, log_uri, found)
    warning = over_budget(looks, options.looks_per_year)
    notes = [*found.notes, warning] if warning else found.notes
    found = replace(found, looks_last_year=len(looks), notes=notes)
    write_metrics(found, folder)
    write_json(summary_json, found.to_dict())
    for note in found.notes:
        logger.warning("%s", note)
    return found


def _moment(text: str) -> datetime:
    """A time in UTC; a date is its midnight."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{text!r} is no date or time; write it as 2026-11-21 or 2026-11-21T08:30:00+01:00"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
